"""The list of operations that test_derivatives.py and test_compile.py go through: one entry, and an operation gets
every check of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from ops.grid import distinct

from wwae import ops
from wwae.ops.max_gather2d import MaxGather2d
from wwae.ops.soft_argmax_pool2d_backward import SoftArgmaxPool2dBackward
from wwae.ops.soft_argmax_unpool2d_backward import SoftArgmaxUnpool2dBackward
from wwae.ops.switch_gather2d import SwitchGather2d
from wwae.reference.window import accumulation_dtype

OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1}
GEOMETRY = ((3, 3), (2, 2), (1, 1), (1, 1))

# ReLU stops some of the staircase of every channel, and none of it stands near 0.
BIAS = torch.tensor([-3.03, -12.07, -9.51], dtype=torch.float64)


# A backward with a ReLU has no derivative of its own: where one is wanted, it is composed of operations that have one.
FUSED_BACKWARDS = ("relu_pool2d_backward", "unpool_conv2d_weight_backward")
DIFFERENTIABLE = {name for name in ops._library.OPERATIONS if not name.endswith(FUSED_BACKWARDS)}

# Autocast has these compute in its own dtype.
CONVOLUTIONS = ("conv_relu_pool2d", "unpool_conv2d")


class Operation(NamedTuple):
    """An operation as a function of one tensor; one with several differentiable tensors has an entry for each.

    function:  the public function of a float64 tensor, all else being fixed
    example:   for `function`
    overload:  what `torch.ops` has, for opcheck
    arguments: of `overload`, made from a tensor like `example`
    of_map:    the operation on any map (N, C, H, W), where it compiles and exports; None where another entry has it
    """

    function: Callable
    example: torch.Tensor
    overload: torch._ops.OpOverload
    arguments: Callable
    of_map: Callable | None


def _unpool(x: torch.Tensor) -> torch.Tensor:
    values, switches = ops.switch_pool2d(x, **OVERLAPPING)
    return ops.switch_unpool2d(values * 2, switches, overlap="sum")


def _max_unpool(x: torch.Tensor) -> torch.Tensor:
    values, indices = ops.max_pool2d(x, 2, return_indices=True)
    return torch.ops.wwae.max_unpool2d(values * 2, indices, x.shape[-2:])  # any size; the public function guards it


def _gather(x: torch.Tensor) -> torch.Tensor:
    switches = ops.switch_pool2d(x, **OVERLAPPING)[1]
    return torch.ops.wwae.switch_gather2d(x * 2, switches.offsets, *GEOMETRY, "mean")


def _max_gather(x: torch.Tensor) -> torch.Tensor:
    return torch.ops.wwae.max_gather2d(x * 2, ops.max_pool2d(x, 2, return_indices=True)[1])


def _sharpness(x: torch.Tensor) -> torch.Tensor:
    """beta of the soft operations, for every plane of a map."""
    return torch.full((), 0.3, dtype=accumulation_dtype(x.dtype), device=x.device).expand(x.shape[:2])


def _soft(x: torch.Tensor) -> torch.Tensor:
    what, where = ops.soft_argmax_pool2d(x, beta=0.3, **OVERLAPPING)
    return what * (where[..., 0] + 2 * where[..., 1]).to(what.dtype)


def _soft_unpool(x: torch.Tensor) -> torch.Tensor:
    return ops.soft_argmax_unpool2d(*ops.soft_argmax_pool2d(x, beta=0.3, **OVERLAPPING), **OVERLAPPING)


def _soft_backward(x: torch.Tensor) -> torch.Tensor:
    gradients = ops.soft_argmax_pool2d(x, beta=0.3, **OVERLAPPING)
    return torch.ops.wwae.soft_argmax_pool2d_backward(x, _sharpness(x), *gradients, *GEOMETRY[:3], True)[0]


def _soft_unpool_backward(x: torch.Tensor) -> torch.Tensor:
    pooled = ops.soft_argmax_pool2d(x, beta=0.3, **OVERLAPPING)
    return torch.ops.wwae.soft_argmax_unpool2d_backward(*pooled, x, *GEOMETRY[:3])[0]


def _soft_operations(x: torch.Tensor) -> dict[str, Operation]:
    wwae, geometry = torch.ops.wwae, GEOMETRY[:3]
    what, where = ops.soft_argmax_pool2d(x, beta=0.3, **OVERLAPPING)
    positions = lambda v: where.to(accumulation_dtype(v.dtype))  # noqa: E731
    pooled = lambda x: (what.to(x.dtype), positions(x))  # noqa: E731
    return {
        "soft_argmax_pool2d": Operation(_soft, x, wwae.soft_argmax_pool2d.default, lambda x: (x, _sharpness(x), *geometry), _soft),
        "soft_argmax_unpool2d": Operation(
            lambda v: ops.soft_argmax_unpool2d(v, where, **OVERLAPPING, output_size=(6, 7)),
            what,
            wwae.soft_argmax_unpool2d.default,
            lambda v: (v, positions(v), *geometry, (6, 7)),
            _soft_unpool,
        ),
        "soft_argmax_pool2d_backward": Operation(
            lambda x: SoftArgmaxPool2dBackward.run(x, _sharpness(x), what, where, *geometry, True)[0],
            x,
            wwae.soft_argmax_pool2d_backward.default,
            lambda x: (x, _sharpness(x), *pooled(x), *geometry, True),
            _soft_backward,
        ),
        "soft_argmax_unpool2d_backward": Operation(
            lambda v: SoftArgmaxUnpool2dBackward.run(v, where, x, *geometry)[1][..., 0] * v,
            what,
            wwae.soft_argmax_unpool2d_backward.default,
            lambda v: (v, positions(v), x.to(v.dtype), *geometry),
            _soft_unpool_backward,
        ),
    }


def _weights(x: torch.Tensor) -> torch.Tensor:
    """Of a 3 x 3 convolution of ``x``, (4, C, 3, 3)."""
    channels = x.shape[-3]
    return torch.arange(36 * channels, dtype=x.dtype, device=x.device).cos().view(4, channels, 3, 3)


def _unpool_conv(x: torch.Tensor) -> torch.Tensor:
    values, switches = ops.switch_pool2d(x, **OVERLAPPING)
    return ops.unpool_conv2d(values * 2, switches, _weights(x), None, 1, "relu")


def _convolutions(x: torch.Tensor) -> dict[str, Operation]:
    wwae = torch.ops.wwae
    values, switches = ops.switch_pool2d(x, **OVERLAPPING)
    bias = lambda x: BIAS[[0, 1, 2, 0]].to(x)  # noqa: E731
    conv_relu_pool = lambda x: ops.conv_relu_pool2d(x, _weights(x), bias(x), **OVERLAPPING, conv_padding=1)[0]  # noqa: E731
    return {
        "conv_relu_pool2d": Operation(
            conv_relu_pool,
            x,
            wwae.conv_relu_pool2d.default,
            lambda x: (x, _weights(x), bias(x), *GEOMETRY, False, (1, 1), (1, 1), (1, 1), 1),
            conv_relu_pool,
        ),
        "unpool_conv2d": Operation(
            lambda v: ops.unpool_conv2d(v, switches, _weights(v), bias(v), 1, "relu"),
            values,
            wwae.unpool_conv2d.default,
            lambda v: (v, switches.offsets, _weights(v), bias(v), *GEOMETRY, (6, 7), (1, 1), True),
            _unpool_conv,
        ),
    }


def _operations() -> dict[str, Operation]:
    wwae = torch.ops.wwae
    x = distinct(2, 3, 6, 7)
    values, switches = ops.switch_pool2d(x, **OVERLAPPING)
    _, indices = ops.max_pool2d(x, **OVERLAPPING, return_indices=True)
    table = {
        "switch_pool2d": Operation(
            lambda x: ops.switch_pool2d(x, **OVERLAPPING)[0],
            x,
            wwae.switch_pool2d.default,
            lambda x: (x, *GEOMETRY, False),
            lambda x: ops.switch_pool2d(x, **OVERLAPPING)[0],
        ),
        "max_pool2d": Operation(
            lambda x: ops.max_pool2d(x, **OVERLAPPING, return_indices=True)[0],
            x,
            wwae.max_pool2d.default,
            lambda x: (x, *GEOMETRY, False),
            lambda x: ops.max_pool2d(x, **OVERLAPPING, return_indices=True)[0],
        ),
        "bias_relu_pool2d": Operation(
            lambda x: ops.bias_relu_pool2d(x, BIAS.to(x), **OVERLAPPING)[0],
            x,
            wwae.bias_relu_pool2d.default,
            lambda x: (x, BIAS.to(x), *GEOMETRY, False),
            lambda x: ops.bias_relu_pool2d(x, x[0, :, 0, 0] - 3, **OVERLAPPING)[0],
        ),
        "batch_norm_relu_pool2d": Operation(
            lambda x: ops.batch_norm_relu_pool2d(x, None, None, None, BIAS.to(x) / 20, True, 0.1, 1e-3, **OVERLAPPING)[0],
            x,
            wwae.batch_norm_relu_pool2d.default,
            lambda x: (x, BIAS.to(x), BIAS.to(x), None, None, 1e-3, *GEOMETRY, False),
            lambda x: ops.batch_norm_relu_pool2d(x, None, None, None, None, True, 0.1, 1e-3, **OVERLAPPING)[0],
        ),
        "fixed_unpool2d": Operation(
            lambda v: ops.fixed_unpool2d(v, 2, output_size=(7, 9)),
            values,
            wwae.fixed_unpool2d.default,
            lambda v: (v, (2, 2), (1, 1), (7, 9)),
            lambda x: ops.fixed_unpool2d(x, 2),
        ),
        "max_unpool2d": Operation(
            lambda v: ops.max_unpool2d(v, indices, **OVERLAPPING, output_size=(6, 7)),
            values,
            wwae.max_unpool2d.default,
            lambda v: (v, indices, (6, 7)),
            _max_unpool,
        ),
        "max_gather2d": Operation(
            lambda x: MaxGather2d.run(x, indices), x, wwae.max_gather2d.default, lambda x: (x, indices), _max_gather
        ),
    }
    for overlap in ("last", "sum", "mean"):
        table[f"switch_unpool2d-{overlap}"] = Operation(
            lambda v, overlap=overlap: ops.switch_unpool2d(v, switches, overlap=overlap),
            values,
            wwae.switch_unpool2d.default,
            lambda v, overlap=overlap: (v, switches.offsets, *GEOMETRY, (6, 7), overlap),
            _unpool if overlap == "sum" else None,
        )
        table[f"switch_gather2d-{overlap}"] = Operation(
            lambda x, overlap=overlap: SwitchGather2d.run(x, switches.offsets, *GEOMETRY, overlap),
            x,
            wwae.switch_gather2d.default,
            lambda x, overlap=overlap: (x, switches.offsets, *GEOMETRY, overlap),
            _gather if overlap == "mean" else None,
        )
    return table | _soft_operations(x) | _convolutions(x)


OPERATIONS = _operations()
every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
every_map_operation = pytest.mark.parametrize(
    "operation", [pytest.param(operation, id=name) for name, operation in OPERATIONS.items() if operation.of_map]
)
