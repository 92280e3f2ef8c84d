"""The drop-in ``max_pool2d`` beside PyTorch's, int64 indices included."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import INDEX_BYTES, in_direction, pool_forward, unpool_forward


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    return x, lambda x: wwae.ops.max_pool2d(x, case.kernel, case.stride, return_indices=True)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    return x, lambda x: torch.nn.functional.max_pool2d(x, case.kernel, case.stride, return_indices=True)


def _traffic(setting: Setting) -> int:
    """Forward writes int64 indices, as it must; for backward one byte a window is enough."""
    return in_direction(setting, pool_forward(setting, INDEX_BYTES), unpool_forward(setting, setting.case.offset_bytes))


OPERATION = Operation(
    name="max_pool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True, dtypes=("float32",)
)


def bench_max_pool2d(measure) -> None:
    measure(OPERATION)
