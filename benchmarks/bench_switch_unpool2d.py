"""``switch_unpool2d`` beside ``max_unpool2d``: values go back where their maxima stood.

Where windows overlap PyTorch's gradient goes to all windows that point at an element, ours to the one that wrote it, and compiled
PyTorch does not define which one that is: there only ours is checked, and the times are of different results.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import gather, in_direction, unpool_forward


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    values, switches = wwae.ops.switch_pool2d(x, case.kernel, case.stride)
    return values, lambda values: wwae.ops.switch_unpool2d(values, switches)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    values, indices = torch.nn.functional.max_pool2d(x, case.kernel, case.stride, return_indices=True)
    size = x.shape[2:]
    return values, lambda values: torch.nn.functional.max_unpool2d(values, indices, case.kernel, case.stride, output_size=size)


def _traffic(setting: Setting) -> int:
    """Forward writes the map; backward gathers its gradient."""
    switch = setting.case.offset_bytes
    return in_direction(setting, unpool_forward(setting, switch), gather(setting, switch))


OPERATION = Operation(
    name="switch_unpool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: not case.overlapping
)


def bench_switch_unpool2d(measure) -> None:
    measure(OPERATION)
