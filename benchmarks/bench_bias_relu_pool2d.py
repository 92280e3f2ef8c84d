"""``bias_relu_pool2d`` beside the three steps: the end of a convolution block of VGG.

Backward is asked for the gradient of the map. Ours makes the gradient of the bias as well, PyTorch's does not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import in_direction, masked_unpool, pool_forward, window_sums


def _bias(x: Tensor) -> Tensor:
    return torch.linspace(-1, 1, x.shape[1], dtype=x.dtype, device=x.device)


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    bias = _bias(x)
    return x, lambda x: wwae.ops.bias_relu_pool2d(x, bias, case.kernel, case.stride)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    bias = _bias(x).view(-1, 1, 1)
    return x, lambda x: torch.nn.functional.max_pool2d(torch.relu_(x + bias), case.kernel, case.stride)


def _traffic(setting: Setting) -> int:
    """Forward reads the map; backward reads the windows for the sum, and once more to write the map's gradient."""
    switch = setting.case.offset_bytes
    return in_direction(setting, pool_forward(setting, switch), masked_unpool(setting, switch) + window_sums(setting))


OPERATION = Operation(name="bias_relu_pool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True)


def bench_bias_relu_pool2d(measure) -> None:
    measure(OPERATION)
