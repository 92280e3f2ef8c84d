"""``batch_norm_relu_pool2d`` in training beside the three steps: the end of a convolution block of VGG with batch norm.

Backward is asked for the gradient of the map. Ours makes those of weight and bias as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, max_pool2d

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import gather, in_direction, masked_unpool, pool_forward, window_sums


def _parameters(x: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and bias, float32 as in a network under autocast."""
    weight, bias = (torch.linspace(low, 1, x.shape[1], device=x.device) for low in (0.5, -1))
    return weight, bias


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    weight, bias = _parameters(x)
    norm = (None, None, weight, bias, True, 0.1, 1e-5)
    return x, lambda x: wwae.ops.batch_norm_relu_pool2d(x, *norm, case.kernel, case.stride)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    weight, bias = _parameters(x)

    def call(x: Tensor) -> Tensor:
        return max_pool2d(torch.relu_(batch_norm(x, None, None, weight, bias, True, 0.1, 1e-5)), case.kernel, case.stride)

    return x, call


def _traffic(setting: Setting) -> int:
    """Forward reads the map for its statistics and once more; backward reads it at the switches for the sums, and once more."""
    switch, map_bytes = setting.case.offset_bytes, setting.case.elements * setting.element_bytes
    sums = gather(setting, switch) + window_sums(setting) - setting.case.windows * setting.element_bytes  # nothing is written
    return in_direction(
        setting, map_bytes + pool_forward(setting, switch), sums + map_bytes + masked_unpool(setting, switch)
    )  # fmt: skip


OPERATION = Operation(
    name="batch_norm_relu_pool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True, ties=0.01
)


def bench_batch_norm_relu_pool2d(measure) -> None:
    measure(OPERATION)
