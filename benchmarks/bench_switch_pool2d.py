"""``switch_pool2d`` beside ``max_pool2d(return_indices=True)``: pooling that keeps where each maximum stood."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import in_direction, pool_forward, unpool_forward


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    return x, lambda x: wwae.ops.switch_pool2d(x, case.kernel, case.stride)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    return x, lambda x: torch.nn.functional.max_pool2d(x, case.kernel, case.stride, return_indices=True)


def _traffic(setting: Setting) -> int:
    """Forward reads the map; backward is the unpooling of the gradient."""
    switch = setting.case.offset_bytes
    return in_direction(setting, pool_forward(setting, switch), unpool_forward(setting, switch))


OPERATION = Operation(name="switch_pool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True)


def bench_switch_pool2d(measure) -> None:
    measure(OPERATION)
