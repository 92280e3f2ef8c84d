"""The drop-in ``max_unpool2d`` beside PyTorch's, from the same int64 indices; see ``bench_switch_unpool2d.py`` on overlap."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import INDEX_BYTES, gather, in_direction, unpool_forward


def _pooled(x: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    return torch.nn.functional.max_pool2d(x, case.kernel, case.stride, return_indices=True)


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    values, indices = _pooled(x, case)
    size = x.shape[2:]
    return values, lambda values: wwae.ops.max_unpool2d(values, indices, case.kernel, case.stride, output_size=size)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    values, indices = _pooled(x, case)
    size = x.shape[2:]
    return values, lambda values: torch.nn.functional.max_unpool2d(values, indices, case.kernel, case.stride, output_size=size)


def _traffic(setting: Setting) -> int:
    """Both directions read int64 indices."""
    return in_direction(setting, unpool_forward(setting, INDEX_BYTES), gather(setting, INDEX_BYTES))


OPERATION = Operation(
    name="max_unpool2d",
    wwae=_wwae,
    eager=_eager,
    traffic=_traffic,
    comparable=lambda case: not case.overlapping,
    dtypes=("float32",),
)


def bench_max_unpool2d(measure) -> None:
    measure(OPERATION)
