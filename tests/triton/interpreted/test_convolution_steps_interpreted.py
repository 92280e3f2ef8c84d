"""A training step through the Triton convolutions, run by the interpreter: forward, and the gradients that its kernels make."""

import pytest
import torch

import wwae
from wwae.ops import conv_relu_pool2d, unpool_conv2d


def step(window: tuple[int, ...], layout: torch.memory_format) -> list[torch.Tensor]:
    """Values, decoded map and gradients of a block and its mirror; small integers, which every order adds exactly."""
    generator = torch.Generator().manual_seed(0)

    def integers(*shape: int) -> torch.Tensor:
        return torch.randint(-1, 2, shape, generator=generator).float()

    x = integers(2, 8, 10, 11).contiguous(memory_format=layout).requires_grad_()
    weights = [integers(9, 8, 3, 3).requires_grad_(), integers(5, 9, 3, 3).requires_grad_()]
    bias = integers(9).requires_grad_()
    values, switches = conv_relu_pool2d(x, weights[0], bias, *window, conv_padding=1)
    decoded = unpool_conv2d(values, switches, weights[1], None, 1, "relu")
    decoded.backward(integers(*decoded.shape))
    return [values, decoded, x.grad, *(weight.grad for weight in weights), bias.grad]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("window", [(2,), (3, 2)], ids=["windows apart", "overlapping"])
def test_a_step_of_the_triton_kernels_equals_the_composed_one(window, layout):
    expected = step(window, layout)
    with wwae.use_backend("triton"):
        actual = step(window, layout)
    for a, e in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, e, rtol=0, atol=0)
        assert e.count_nonzero() > 0


def test_a_forced_backend_refuses_what_its_kernel_does_not_take():
    x, weight = torch.randn(1, 4, 8, 8), torch.randn(6, 2, 3, 3)
    with wwae.use_backend("triton"), pytest.raises(RuntimeError, match=r"conv_relu_pool2d: the Triton kernel takes .* groups=1"):
        conv_relu_pool2d(x, weight, None, 2, groups=2)
    assert conv_relu_pool2d(x, weight, None, 2, groups=2)[0].shape == (1, 6, 3, 3)
