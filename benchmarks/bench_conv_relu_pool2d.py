"""``conv_relu_pool2d`` beside the three steps: the end of a block of VGG-16 or of a SWWAE. Backward makes the gradients of the
input and of the weights.
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
    return integers(x), lambda x: wwae.ops.conv_relu_pool2d(x, weight, None, case.kernel, case.stride, conv_padding=1), weight


def _eager(x: Tensor, case: Case) -> tuple[Any, ...]:
    weight = weights(x)

    def call(x: Tensor) -> Tensor:
        return torch.nn.functional.max_pool2d(torch.conv2d(x, weight, None, 1, 1).relu_(), case.kernel, case.stride)

    return integers(x), call, weight


def _traffic(setting: Setting) -> int:
    """Forward ``E e + P (e + o)`` and the weights: read the input, write values and switches, not the map between.

    Backward ``2 E e + P (2 e + o)`` and the weights twice: read the input, the weights, and of each window the gradient, the value
    and the switch; write the gradients of the input and of the weights.
    """
    e, case = setting.element_bytes, setting.case
    forward = case.elements * e + case.windows * (e + case.offset_bytes) + weight_bytes(setting)
    backward = 2 * case.elements * e + case.windows * (2 * e + case.offset_bytes) + 2 * weight_bytes(setting)
    return in_direction(setting, forward, backward)


OPERATION = Operation(
    name="conv_relu_pool2d",
    wwae=_wwae,
    eager=_eager,
    traffic=_traffic,
    comparable=lambda case: True,
    rounding=2e-2,
    cases=convolved_cases,
    flops=convolution_flops,
)


def bench_conv_relu_pool2d(measure) -> None:
    measure(OPERATION)
