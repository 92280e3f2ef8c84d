"""``unpool_conv2d`` with ReLU beside the three steps: the start of a decoder's block. Backward makes the gradients of the pooled
values and of the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting, convolved_cases
from benchmarks.convolution import convolution_flops, integers, weight_bytes, weights
from benchmarks.measure import Operation
from benchmarks.traffic import in_direction


def _wwae(x: Tensor, case: Case) -> tuple[Any, ...]:
    weight = weights(x)
    values, switches = wwae.ops.switch_pool2d(integers(x), case.kernel, case.stride)
    return values, lambda values: wwae.ops.unpool_conv2d(values, switches, weight, None, 1, "relu"), weight


def _eager(x: Tensor, case: Case) -> tuple[Any, ...]:
    weight = weights(x)
    window, size = (case.kernel, case.stride), x.shape[2:]
    values, indices = torch.nn.functional.max_pool2d(integers(x), *window, return_indices=True)

    def call(values: Tensor) -> Tensor:
        full = torch.nn.functional.max_unpool2d(values, indices, *window, output_size=size)
        return torch.conv2d(full, weight, None, 1, 1).relu_()

    return values, call, weight


def _traffic(setting: Setting) -> int:
    """Forward ``P (e + o) + E e`` and the weights: read values and switches, write the convolved map, not the one between.

    Backward ``2 E e + P (2 e + o)`` and the weights twice: read the convolved map, its gradient, the weights, the values and the
    switches; write the gradients of the values and of the weights.
    """
    e, case = setting.element_bytes, setting.case
    forward = case.windows * (e + case.offset_bytes) + case.elements * e + weight_bytes(setting)
    backward = 2 * case.elements * e + case.windows * (2 * e + case.offset_bytes) + 2 * weight_bytes(setting)
    return in_direction(setting, forward, backward)


OPERATION = Operation(
    name="unpool_conv2d",
    wwae=_wwae,
    eager=_eager,
    traffic=_traffic,
    comparable=lambda case: not case.overlapping,
    rounding=2e-2,
    cases=convolved_cases,
    flops=convolution_flops,
)


def bench_unpool_conv2d(measure) -> None:
    measure(OPERATION)
