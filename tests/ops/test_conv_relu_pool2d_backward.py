"""The gradients of convolution, ReLU and pooling: backends, composed and fused, against the definition."""

import pytest
import torch
from convolution_cases import CHECKS, CONVOLUTIONS, check_conv_relu_pool2d_backward, small_integers
from kernel_cases import CASES
from ops.grid import every_case, every_dtype, every_layout

from wwae.ops._compositions import fused_conv_relu_pool2d_backward

_, VARIANTS = CHECKS["conv_relu_pool2d_backward"]


@every_case
@every_dtype
@every_layout
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last):
    for arguments in VARIANTS:
        check_conv_relu_pool2d_backward(kernel("conv_relu_pool2d_backward"), case, dtype, channels_last, *arguments)


@every_case
@every_layout
def test_the_kernels_of_unpooling_serve_it_and_where_they_do_not_apply_it_is_composed(case, channels_last):
    for arguments in VARIANTS:
        check_conv_relu_pool2d_backward(fused_conv_relu_pool2d_backward, case, torch.float64, channels_last, *arguments)


def test_windows_apart_and_plain_convolutions_go_to_the_kernels_of_unpooling(monkeypatch):
    seen = []
    from wwae.ops import _compositions

    monkeypatch.setattr(_compositions, "_conv_relu_pool2d_backward", lambda *_: seen.append("composed"))
    for name, convolution, expected in (
        ("2x2 odd", CONVOLUTIONS[0], []),
        ("disjoint dilated", CONVOLUTIONS[1], []),
        ("3x3 stride 2", CONVOLUTIONS[0], ["composed"]),
        ("2x2 odd", CONVOLUTIONS[4], ["composed"]),
    ):
        case = CASES[name]
        x = small_integers(convolution.input_shape(case), torch.float32, seed=0)
        weight = small_integers((6, x.shape[1] // convolution.groups, *convolution.kernel_size), torch.float32, seed=1)
        windows = torch.ops.wwae.conv_relu_pool2d(x, weight, None, *case.window, case.ceil_mode, *convolution.arguments)
        seen.clear()
        fused_conv_relu_pool2d_backward(windows[0], *windows, x, weight, *case.window, *convolution.arguments, (True, True, True))
        assert seen == expected


def test_direct_call_has_no_silent_derivative():
    grad, values = torch.randn(1, 2, 2, 2, requires_grad=True), torch.randn(1, 2, 2, 2)
    offsets = torch.zeros(1, 2, 2, 2, dtype=torch.uint8)
    x, weight = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 1, 1)
    window, convolution = ((2, 2), (2, 2), (0, 0), (1, 1)), ((1, 1), (0, 0), (1, 1), 1)
    grads = torch.ops.wwae.conv_relu_pool2d_backward(grad, values, offsets, x, weight, *window, *convolution, (True, False, False))
    assert [tuple(g.shape) for g in grads] == [(1, 3, 4, 4), (0,), (0,)]
    with pytest.raises(NotImplementedError, match="conv_relu_pool2d_backward: expected to be differentiated through"):
        grads[0].sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("wanted", [(True, True, True), (False, True, False)])
def test_opcheck(dtype, layout, wanted):
    x, weight = (torch.randn(shape).to(dtype).contiguous(memory_format=layout) for shape in ((2, 3, 8, 8), (4, 3, 3, 3)))
    window, convolution = ((2, 2), (2, 2), (0, 0), (1, 1)), ((1, 1), (1, 1), (1, 1), 1)
    values, offsets = torch.ops.wwae.conv_relu_pool2d(x, weight, None, *window, False, *convolution)
    arguments = (torch.rand_like(values), values, offsets, x, weight, *window, *convolution, wanted)
    torch.library.opcheck(torch.ops.wwae.conv_relu_pool2d_backward.default, arguments)
