"""PyTorch's own samples and error inputs of max pooling and unpooling, run against the drop-ins."""

import functools

import pytest
import torch
import torch.nn.functional as F
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

import wwae

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
OPERATIONS = {(op.name, op.variant_test_name): op for op in op_db}
MAX_POOL2D = OPERATIONS["nn.functional.max_pool2d", ""]
MAX_UNPOOL2D = OPERATIONS["nn.functional.max_unpool2d", ""]
MAX_UNPOOL2D_GRAD = OPERATIONS["nn.functional.max_unpool2d", "grad"]
MODULE = next(info for info in module_db if info.module_cls is torch.nn.MaxPool2d)


@functools.cache
def generated(name, variant):
    op = OPERATIONS[name, variant]
    return [(sample.input, sample.args, sample.kwargs) for sample in op.sample_inputs("cpu", torch.float32)]


def samples(op, dtype, every=1):
    """The samples as they are, and the batched ones in channels-last memory."""
    for x, args, kwargs in generated(op.name, op.variant_test_name)[::every]:
        yield x.to(dtype), args, kwargs
        if x.dim() == 4:
            yield x.to(dtype).to(memory_format=torch.channels_last), args, kwargs


def tensors(results):
    return (results,) if isinstance(results, torch.Tensor) else tuple(results)


def assert_identical(ours, theirs, case):
    """Bit for bit, with the dtype and the memory layout."""
    ours, theirs = tensors(ours), tensors(theirs)
    assert len(ours) == len(theirs), case
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride()), case
        assert torch.equal(a, b), case


def gradient(function, x, args, kwargs):
    """Gradient in ``x`` of the values' sum, weighted so that every window counts differently."""
    x = x.detach().requires_grad_()
    values = tensors(function(x, *args, **kwargs))[0]
    weights = torch.arange(values.numel(), dtype=values.dtype).reshape(values.shape) % 13 - 6
    return torch.autograd.grad((values * weights).sum(), x)[0]


def windows_collide(indices):
    return bool((indices.flatten(-2).sort().values.diff() == 0).any())


def as_module(module, x, args, kwargs):
    """The call of a functional sample made through the module of the same name."""
    kwargs = dict(kwargs)
    output_size = kwargs.pop("output_size", None)
    if module.__name__ == "MaxUnpool2d":
        return module(**kwargs)(x, *args, output_size)
    return module(**kwargs)(x, *args)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_max_pool2d_equals_pytorch_on_its_samples(dtype):
    count = 0
    for x, args, kwargs in samples(MAX_POOL2D, dtype):
        expected = F.max_pool2d(x, *args, **kwargs)
        assert_identical(wwae.ops.max_pool2d(x, *args, **kwargs), expected, kwargs)
        assert_identical(as_module(wwae.nn.MaxPool2d, x, args, kwargs), expected, kwargs)
        count += 1
    assert count > 20


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_are_pooled_as_pytorch_pools_them(dtype):
    for x, args, kwargs in samples(MAX_POOL2D, dtype, every=13):
        expected = F.max_pool2d(x, *args, **kwargs)
        assert_identical(wwae.ops.max_pool2d(x, *args, **kwargs), expected, kwargs)
        assert_identical(as_module(wwae.nn.MaxPool2d, x, args, kwargs), expected, kwargs)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_max_unpool2d_equals_pytorch_on_its_samples(dtype):
    count = 0
    for x, args, kwargs in samples(MAX_UNPOOL2D, dtype):
        expected = F.max_unpool2d(x, *args, **kwargs)
        assert_identical(wwae.ops.max_unpool2d(x, *args, **kwargs), expected, kwargs)
        assert_identical(as_module(wwae.nn.MaxUnpool2d, x, args, kwargs), expected, kwargs)
        count += 1
    assert count > 20


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gradients_of_max_pool2d_equal_pytorchs(dtype):
    for x, args, kwargs in samples(MAX_POOL2D, dtype, every=5):
        indices = F.max_pool2d(x, *args, **{**kwargs, "return_indices": True})[1]
        ours, theirs = (gradient(f, x, args, kwargs) for f in (wwae.ops.max_pool2d, F.max_pool2d))
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), kwargs
        if indices.shape[-2:] != (1, 1):  # the gradient of one pixel is contiguous in both formats, and tells neither
            assert ours.stride() == theirs.stride(), kwargs
        if dtype in (torch.bfloat16, torch.float16) and windows_collide(indices):
            # Ours sums in float32 and rounds once; PyTorch may round after each window, so only a bound is shared.
            exact = gradient(wwae.ops.max_pool2d, x.double(), args, kwargs)
            assert ((ours.double() - exact).abs() <= torch.finfo(dtype).eps * exact.abs()).all(), kwargs
        else:
            assert torch.equal(ours, theirs), kwargs


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_gradients_of_max_unpool2d_equal_pytorchs_where_windows_do_not_collide(dtype):
    count = 0
    for x, args, kwargs in samples(MAX_UNPOOL2D_GRAD, dtype):
        if windows_collide(args[0]):
            continue
        ours, theirs = (gradient(f, x, args, kwargs) for f in (wwae.ops.max_unpool2d, F.max_unpool2d))
        assert_identical(ours, theirs, kwargs)
        count += 1
    assert count > 5


@pytest.mark.parametrize("op", [MAX_POOL2D, MAX_UNPOOL2D], ids=lambda op: op.name)
def test_error_inputs_are_refused_as_pytorch_refuses_them(op):
    name = op.name.rpartition(".")[2]
    ours, theirs = getattr(wwae.ops, name), getattr(F, name)
    module = {"max_pool2d": wwae.nn.MaxPool2d, "max_unpool2d": wwae.nn.MaxUnpool2d}[name]
    errors = list(op.error_inputs("cpu"))
    assert errors  # how many differs from version to version
    for error in errors:
        sample = error.sample_input
        for call in (theirs, ours, lambda x, *args, **kwargs: as_module(module, x, args, kwargs)):
            with pytest.raises(error.error_type, match=error.error_regex) as raised:
                call(sample.input, *sample.args, **sample.kwargs)
            assert type(raised.value) is error.error_type


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_module_samples(dtype):
    inputs = MODULE.module_inputs_func(MODULE, device="cpu", dtype=dtype, requires_grad=False, training=True)
    assert inputs
    for sample in inputs:
        theirs = torch.nn.MaxPool2d(*sample.constructor_input.args, **sample.constructor_input.kwargs)
        ours = wwae.nn.MaxPool2d(*sample.constructor_input.args, **sample.constructor_input.kwargs)
        assert repr(ours) == repr(theirs)
        assert_identical(ours(*sample.forward_input.args), theirs(*sample.forward_input.args), sample.desc)


def test_module_errors():
    errors = MODULE.module_error_inputs_func(MODULE, device="cpu", dtype=torch.float32, requires_grad=False, training=True)
    assert errors
    for error in errors:
        assert error.error_on == ModuleErrorEnum.FORWARD_ERROR
        sample = error.module_error_input
        for module in (torch.nn.MaxPool2d, wwae.nn.MaxPool2d):
            pool = module(*sample.constructor_input.args, **sample.constructor_input.kwargs)
            with pytest.raises(error.error_type, match=error.error_regex):
                pool(*sample.forward_input.args)
