"""Update rule and learning-rate course of a run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from wwae.training.configuration import SolverConfiguration

__all__ = ["make_optimizer", "make_schedule"]


def make_optimizer(settings: SolverConfiguration, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]) -> Optimizer:
    """Return the optimiser of the settings; Adam keeps PyTorch's betas (0.9, 0.999).

    Groups of parameters may have rates and decays of their own.
    """
    if settings.name == "sgd":
        return SGD(parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay)
    return Adam(parameters, lr=settings.lr, weight_decay=settings.weight_decay)


def make_schedule(settings: SolverConfiguration, optimizer: Optimizer, steps: int) -> LambdaLR:
    """Return the learning-rate course over ``steps`` steps; ``cosine`` and ``linear`` reach 0 at their end."""
    factors = {
        "constant": lambda step: 1.0,
        "cosine": lambda step: 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0))),
        "linear": lambda step: 1.0 - min(step / steps, 1.0),
    }
    return LambdaLR(optimizer, factors[settings.schedule])
