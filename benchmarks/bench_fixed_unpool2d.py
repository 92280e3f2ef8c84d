"""``fixed_unpool2d`` beside what one writes in PyTorch: zeros, and an assignment to a strided view."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import gather, in_direction, unpool_forward


def _pooled(x: Tensor, case: Case) -> Tensor:
    return wwae.ops.switch_pool2d(x, case.kernel, case.stride)[0]


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    size = x.shape[2:]
    return _pooled(x, case), lambda values: wwae.ops.fixed_unpool2d(values, case.kernel, case.stride, output_size=size)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    layout, tap = x, case.kernel // 2

    def unpool(values: Tensor) -> Tensor:
        full = torch.zeros_like(layout)
        taps = full[:, :, tap :: case.stride, tap :: case.stride]
        taps[:, :, : values.shape[2], : values.shape[3]] = values
        return full

    return _pooled(x, case), unpool


def _traffic(setting: Setting) -> int:
    """No switch is read."""
    return in_direction(setting, unpool_forward(setting, 0), gather(setting, 0))


OPERATION = Operation(
    name="fixed_unpool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True, dtypes=("float32",)
)


def bench_fixed_unpool2d(measure) -> None:
    measure(OPERATION)
