"""PyTorch's counter of floating-point operations sees in the fused operations what it sees in the layers they stand for."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

import wwae


def count(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def leaves(*shapes: tuple[int, ...]) -> list[torch.Tensor]:
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


# PyTorch counts the gradient of the weights as if there were no groups: forward alone there.
@pytest.mark.parametrize(
    ("convolution", "backward"),
    [((1, 1, 1, 1), False), ((1, 1, 1, 1), True), ((1, 2, 2, 1), True), ((2, 0, 1, 1), True), ((2, 0, 1, 2), False)],
    ids=str,
)
def test_convolution_and_pooling(convolution: tuple[int, int, int, int], backward: bool):
    *sizes, groups = convolution
    x, weight, bias = leaves((2, 4, 12, 13), (6, 4 // groups, 3, 3), (6,))

    def fused():
        values, _ = wwae.ops.conv_relu_pool2d(x, weight, bias, 2, 2, 0, 1, False, *sizes, groups)
        if backward:
            values.sum().backward()

    def layers():
        values = F.max_pool2d(F.relu(F.conv2d(x, weight, bias, *sizes, groups)), 2)
        if backward:
            values.sum().backward()

    assert count(fused) == count(layers) > 0


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "step"])
def test_unpooling_and_convolution(backward: bool):
    values, switches = wwae.ops.switch_pool2d(torch.randn(2, 4, 12, 13), 2)
    x, weight, bias = leaves(tuple(values.shape), (5, 4, 3, 2), (5,))

    def fused():
        y = wwae.ops.unpool_conv2d(x, switches, weight, bias, (1, 0), "relu")
        if backward:
            y.sum().backward()

    def layers():
        y = F.relu(F.conv2d(wwae.ops.switch_unpool2d(x, switches), weight, bias, padding=(1, 0)))
        if backward:
            y.sum().backward()

    assert count(fused) == count(layers) > 0


def test_only_the_gradients_that_are_asked_for_are_counted():
    x, weight, bias = leaves((2, 3, 8, 8), (4, 3, 3, 3), (4,))
    forward = count(lambda: wwae.ops.conv_relu_pool2d(x, weight, bias, 2))
    step = count(lambda: wwae.ops.conv_relu_pool2d(x.detach(), weight, bias, 2)[0].sum().backward())
    assert step == 2 * forward
