"""Derivatives in every tensor argument of the operations that apply bias or batch norm and ReLU before they pool."""

import pytest
import torch
from ops.grid import distinct
from torch.autograd import forward_ad

from wwae import ops

OVERLAPPING = {"kernel_size": 3, "stride": 2, "padding": 1}
BIAS = torch.tensor([-3.03, -12.07, -9.51], dtype=torch.float64)


def bias_relu_pool(x, bias):
    return ops.bias_relu_pool2d(x, bias, **OVERLAPPING)[0]


def train_batch_norm(x, weight, bias):
    return ops.batch_norm_relu_pool2d(x, None, None, weight, bias, True, 0.1, 1e-2, **OVERLAPPING)[0]


def evaluate_batch_norm(x, weight, bias):
    running = torch.tensor([4.0, 9.0, 15.0]).to(x.dtype), torch.tensor([3.0, 20.0, 0.5]).to(x.dtype)
    return ops.batch_norm_relu_pool2d(x, *running, weight, bias, False, 0.1, 1e-2, **OVERLAPPING)[0]


def conv_relu_pool(x, weight, bias):
    return ops.conv_relu_pool2d(x, weight, bias, **OVERLAPPING, conv_padding=1)[0]


def grouped_conv_relu_pool(x, weight, bias):
    """Strided, dilated, in groups, and windows that don't overlap."""
    return ops.conv_relu_pool2d(
        x, weight, bias, (1, 2), ceil_mode=True, conv_stride=(1, 2), conv_padding=2, conv_dilation=2, groups=3
    )[0]


def unpool_conv(x, weight, bias):
    values, switches = ops.switch_pool2d(x, **OVERLAPPING)
    return ops.unpool_conv2d(values, switches, weight, bias, 1)


def unpool_conv_relu(x, weight, bias):
    """With more padding than the kernel reaches."""
    values, switches = ops.switch_pool2d(x, 2, ceil_mode=True)
    return ops.unpool_conv2d(values, switches, weight, bias, (3, 1), "relu")


def convolution(outputs: int, channels: int):
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(shape, generator=generator).double() for shape in ((outputs, channels, 3, 3), (outputs,)))


NORM = (distinct(2, 3, 6, 7), torch.tensor([0.7, -1.1, 2.3]).double(), torch.tensor([0.31, 0.17, -0.43]).double())
FUNCTIONS = {
    "bias_relu_pool2d": (bias_relu_pool, (distinct(2, 3, 6, 7), BIAS)),
    "batch_norm_relu_pool2d, training": (train_batch_norm, NORM),
    "batch_norm_relu_pool2d, evaluation": (evaluate_batch_norm, NORM),
    "conv_relu_pool2d": (conv_relu_pool, (distinct(2, 3, 6, 7), *convolution(2, 3))),
    "conv_relu_pool2d, groups": (grouped_conv_relu_pool, (distinct(2, 3, 6, 7), *convolution(3, 1))),
    "unpool_conv2d": (unpool_conv, (distinct(2, 3, 6, 7), *convolution(2, 3))),
    "unpool_conv2d, ReLU": (unpool_conv_relu, (distinct(2, 3, 6, 7), *convolution(2, 3))),
}
every_function = pytest.mark.parametrize(("function", "inputs"), FUNCTIONS.values(), ids=FUNCTIONS.keys())


def leaves(inputs, layout=torch.contiguous_format):
    return tuple(
        (t.contiguous(memory_format=layout) if t.dim() == 4 else t).detach().clone(memory_format=torch.preserve_format)
        .requires_grad_() for t in inputs
    )  # fmt: skip


@every_function
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradcheck(function, inputs, layout):
    assert torch.autograd.gradcheck(function, leaves(inputs, layout), check_forward_ad=True, check_batched_grad=True)


@every_function
def test_gradgradcheck(function, inputs):
    small = leaves((inputs[0][:, :, :5, :4], *inputs[1:]))
    assert torch.autograd.gradgradcheck(function, small, check_fwd_over_rev=True)


@every_function
def test_third_derivative(function, inputs):
    small = leaves((inputs[0][:1, :, :3, :3], *inputs[1:]))

    def gradient(*arguments):
        return torch.autograd.grad(function(*arguments).sin().sum(), arguments, create_graph=True)

    assert torch.autograd.gradgradcheck(gradient, small)


@every_function
def test_fused_backward_equals_the_composed_one(function, inputs):
    fused, composed = leaves(inputs), leaves(inputs)
    weight = torch.randn_like(function(*inputs))
    (function(*fused) * weight).sum().backward()
    gradients = torch.autograd.grad((function(*composed) * weight).sum(), composed, create_graph=True)
    for leaf, gradient in zip(fused, gradients, strict=True):
        torch.testing.assert_close(leaf.grad, gradient)


@every_function
def test_function_transforms(function, inputs):
    argnums = tuple(range(len(inputs)))
    loss = lambda *arguments: function(*arguments).square().sum()  # noqa: E731
    leaf = leaves(inputs)
    expected = torch.autograd.grad(loss(*leaf), leaf)
    for actual, wanted in zip(torch.func.grad(loss, argnums)(*inputs), expected, strict=True):
        torch.testing.assert_close(actual, wanted)
    directions = tuple(torch.randn_like(t) for t in inputs)
    slope = sum((gradient * direction).sum() for gradient, direction in zip(expected, directions, strict=True))
    torch.testing.assert_close(torch.func.jvp(loss, inputs, directions)[1], slope)
    torch.testing.assert_close(torch.func.jacrev(loss, 1)(*inputs), expected[1])
    torch.testing.assert_close(torch.func.jacfwd(loss, 1)(*inputs), expected[1])
    hessian = torch.func.hessian(loss, 1)(*inputs)
    torch.testing.assert_close(hessian, torch.autograd.functional.hessian(lambda b: loss(inputs[0], b, *inputs[2:]), inputs[1]))


@every_function
@pytest.mark.parametrize("mapped", ["x", "parameters", "both"])
def test_vmap(function, inputs, mapped):
    """A mapped map meets the parameters that are mapped with it, as in an ensemble of models."""
    maps = mapped != "parameters", mapped != "x"
    stacks = tuple(torch.stack([t, t + 0.313, t.flip(0)]) if maps[i > 0] else t for i, t in enumerate(inputs))
    dims = tuple(0 if maps[i > 0] else None for i in range(len(inputs)))
    one = lambda k: tuple(s[k] if d == 0 else s for s, d in zip(stacks, dims, strict=True))  # noqa: E731
    actual = torch.func.vmap(function, dims)(*stacks)
    torch.testing.assert_close(actual, torch.stack([function(*one(k)) for k in range(3)]))
    last = torch.func.vmap(function, tuple(None if d is None else -1 for d in dims), out_dims=1)(
        *(s if d is None else s.movedim(0, -1) for s, d in zip(stacks, dims, strict=True))
    )
    torch.testing.assert_close(last, actual.movedim(0, 1))
    gradients = torch.func.vmap(torch.func.grad(lambda *a: function(*a).square().sum(), (0, 1)), dims)(*stacks)
    for k in range(3):
        leaf = leaves(one(k))
        expected = torch.autograd.grad(function(*leaf).square().sum(), leaf[:2])
        for gradient, wanted in zip(gradients, expected, strict=True):
            torch.testing.assert_close(gradient[k], wanted)


@every_function
def test_forward_mode_in_one_argument(function, inputs):
    for number, argument in enumerate(inputs):
        tangent = torch.randn_like(argument)
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(argument, tangent)
            moved = forward_ad.unpack_dual(function(*inputs[:number], dual, *inputs[number + 1 :])).tangent
        alone = lambda t, number=number: function(*inputs[:number], t, *inputs[number + 1 :])  # noqa: E731
        torch.testing.assert_close(moved, torch.func.jvp(alone, (argument,), (tangent,))[1])
        shifted = alone(argument + 1e-7 * tangent) - alone(argument - 1e-7 * tangent)
        torch.testing.assert_close(moved, shifted / 2e-7, rtol=1e-4, atol=1e-5)


@every_function
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_equals_eager_over_dynamic_shapes(function, inputs, backend):
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend=backend)
    for shape in ((2, 3, 8, 8), (3, 3, 9, 12), (1, 3, 17, 6)):
        for layout in (torch.contiguous_format, torch.channels_last):
            mine, other = leaves((distinct(*shape), *inputs[1:]), layout), leaves((distinct(*shape), *inputs[1:]), layout)
            actual, expected = compiled(*mine), function(*other)
            assert torch.equal(actual, expected)
            actual.square().sum().backward()
            expected.square().sum().backward()
            # Inductor lays out for itself what a library's convolution sees, which then adds in another order.
            rounding = 1e-12 if backend == "inductor" and function in (unpool_conv, unpool_conv_relu) else 0
            for a, b in zip(mine, other, strict=True):
                torch.testing.assert_close(a.grad, b.grad, rtol=rounding, atol=rounding)


@every_function
def test_compiled_backward_is_the_fused_operation(function, inputs):
    from torch._dynamo.backends.common import aot_autograd

    graphs = []

    def keep(graph, _example):
        graphs.append(graph.print_readable(print_output=False))
        return graph

    torch.compiler.reset()
    leaf = leaves(inputs)
    torch.compile(function, fullgraph=True, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep))(*leaf).sum().backward()
    assert "_backward.default" in graphs[-1]
    assert "convolution_backward" not in graphs[-1]
    assert "switch_unpool2d" not in graphs[-1] or function in (unpool_conv, unpool_conv_relu)  # of the pooling before them


OVERLOADS = {
    "bias_relu_pool2d": lambda b: (b,),
    "batch_norm_relu_pool2d": lambda b: (b, b, None, None, 1e-5),
}


@pytest.mark.parametrize("name", OVERLOADS)
@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(name, requires_grad, dtype):
    b = BIAS.to(dtype).requires_grad_(requires_grad)
    geometry = (3, 3), (2, 2), (1, 1), (1, 1)
    operation, backward = (getattr(torch.ops.wwae, name + suffix).default for suffix in ("", "_backward"))
    for layout in (torch.contiguous_format, torch.channels_last):
        x = distinct(2, 3, 6, 7).to(dtype).contiguous(memory_format=layout).requires_grad_(requires_grad)
        torch.library.opcheck(operation, (x, *OVERLOADS[name](b), *geometry, False))
        values, offsets, *statistics = (t.detach() for t in operation(x, *OVERLOADS[name](b), *geometry, False))
        pooled = torch.randn_like(values), values, offsets
        if statistics:
            torch.library.opcheck(backward, (*pooled, x.detach(), *statistics, b.detach(), True, 1e-5, *geometry))
        else:
            torch.library.opcheck(backward, (*pooled, *geometry, x.shape[2:]))
