"""``soft_argmax_pool2d`` beside what one writes in PyTorch: windows unfolded, a softmax, and two weighted sums.

PyTorch computes in float32 for bfloat16 too, as ours does: the exponent of a softmax in bfloat16 would be off by several percent.
Backward is that of ``what``; ours gets the gradient of ``where`` as zeros, and reads them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import POSITION_BYTES, in_direction, pool_forward
from wwae.reference.window import memory_format

BETA = 4.0


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    return x, lambda x: wwae.ops.soft_argmax_pool2d(x, case.kernel, BETA, case.stride)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    taps = torch.linspace(-1, 1, case.kernel, device=x.device)
    positions = torch.stack((taps.repeat(case.kernel), taps.repeat_interleave(case.kernel)), dim=-1)

    layout = memory_format(x)

    def pool(x: Tensor) -> tuple[Tensor, Tensor]:
        windows = x.float().unfold(2, case.kernel, case.stride).unfold(3, case.kernel, case.stride).flatten(-2)
        weights = torch.softmax(BETA * windows, dim=-1)
        what = (weights * windows).sum(-1).to(x.dtype)
        return what.contiguous(memory_format=layout), weights @ positions

    return x, pool


def _traffic(setting: Setting) -> int:
    """Backward reads the map and what comes back for the windows, and writes the gradient of the map."""
    forward = pool_forward(setting, POSITION_BYTES)
    return in_direction(setting, forward, forward + setting.case.elements * setting.element_bytes)


OPERATION = Operation(name="soft_argmax_pool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True, ties=0.0)


def bench_soft_argmax_pool2d(measure) -> None:
    measure(OPERATION)
