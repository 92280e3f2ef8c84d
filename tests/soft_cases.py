"""What every backend of the soft operations is held to: the definition in float64, up to the rounding of the backend's sums.

`check_<stem>(<stem>_backend, case, dtype, channels_last)` runs one backend's host function beside the reference.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from kernel_cases import Case, in_layout, make_map
from torch import Tensor

from wwae.reference.soft_argmax_pool2d import soft_argmax_pool2d_reference
from wwae.reference.soft_argmax_pool2d_backward import soft_argmax_pool2d_backward_reference
from wwae.reference.soft_argmax_unpool2d import soft_argmax_unpool2d_reference
from wwae.reference.soft_argmax_unpool2d_backward import soft_argmax_unpool2d_backward_reference
from wwae.reference.taps import pairs_in_layout
from wwae.reference.window import accumulation_dtype, memory_format, pooled_sizes

BETAS = (1.0, 0.0, 100.0, 0.25, 1000.0)

# A weight is as exact as its exponent: of the weights that count, the largest exponents are near 30.
NOISE = {torch.float32: 2e-5, torch.float64: 1e-12}


def geometry(case: Case) -> tuple[tuple[int, int], ...]:
    """The soft operations have no dilation and no ceil_mode."""
    return case.kernel_size, case.stride, case.padding


def windows_of(case: Case) -> tuple[int, int]:
    return pooled_sizes(case.shape[2:], *geometry(case), (1, 1), False)


def make_beta(case: Case, dtype: torch.dtype, per_image: bool) -> Tensor:
    """(N, C): one value a channel, the same in every image (stride 0), or one of its own for every plane."""
    batch, channels = case.shape[:2]
    wide = accumulation_dtype(dtype)
    if per_image:
        return torch.tensor(BETAS, dtype=wide).repeat(batch * channels)[: batch * channels].view(batch, channels)
    return torch.tensor(BETAS, dtype=wide).repeat(channels)[:channels].expand(batch, channels)


def smooth_map(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def make_pairs(shape: tuple[int, ...], dtype: torch.dtype, channels_last: bool, seed: int, special: bool = False) -> Tensor:
    """Pairs in and beyond [-1, 1], many of them on a bound; NaN and infinities among them when asked for."""
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.empty((*shape, 2)).uniform_(-1.3, 1.3, generator=generator)
    kind = torch.randint(0, 60, pairs.shape, generator=generator)
    for number, value in enumerate((-1.0, 1.0, 0.0, -1.0, 1.0)):
        pairs[kind == number] = value
    if special:
        for number, value in enumerate((torch.nan, torch.inf, -torch.inf)):
            pairs[kind == 10 + number] = value
    layout = torch.channels_last if channels_last and shape[1] > 1 else torch.contiguous_format
    return pairs_in_layout(pairs.to(accumulation_dtype(dtype)), layout)


def double(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.double() for tensor in tensors)


def assert_near(actual: Tensor, expected: Tensor, scale: Tensor | float = 1.0) -> None:
    """Within the noise of float32 (or float64) sums of terms as large as `scale`, and one rounding to the dtype."""
    assert actual.shape == expected.shape
    noise = NOISE[accumulation_dtype(actual.dtype)]
    rounding = torch.finfo(actual.dtype).eps
    expected = expected.to(actual.dtype).double()
    special = ~expected.isfinite()
    torch.testing.assert_close(actual.double()[special], expected[special], rtol=0, atol=0, equal_nan=True)
    allowed = noise * torch.as_tensor(scale).double().expand(expected.shape) + rounding * expected.abs()
    worst = ((actual.double() - expected).abs() - allowed)[~special]
    assert worst.numel() == 0 or bool((worst <= 0).all()), worst.max()


def assert_layout(actual: Tensor, x: Tensor) -> None:
    """A map in the layout that x asks for; pairs as a map of pairs."""
    layout = memory_format(x)
    if actual.dim() == 5:
        assert actual.stride() == pairs_in_layout(torch.empty_like(actual), layout).stride() or actual.numel() == 0
    else:
        assert actual.is_contiguous(memory_format=layout)


def largest(x: Tensor) -> float:
    finite = x[x.isfinite()].abs().double()
    return 1.0 + (finite.max().item() if finite.numel() else 0.0)


def check_soft_argmax_pool2d(backend: Callable[..., tuple[Tensor, Tensor]], case: Case, dtype, channels_last: bool) -> None:
    for number, x in enumerate((smooth_map(case.shape, dtype, 0) * 3, make_map(case.shape, dtype, seed=0))):
        x = in_layout(x, channels_last)
        beta = make_beta(case, dtype, per_image=number == 1)
        what, where = backend(x, beta, *geometry(case))
        expected = soft_argmax_pool2d_reference(*double(x, beta), *geometry(case))
        assert (what.dtype, where.dtype) == (dtype, accumulation_dtype(dtype))
        assert_near(what, expected[0], largest(x))
        assert_near(where, expected[1])
        assert not (where.abs() > 1).any()
        assert_layout(what, x)
        assert_layout(where, x)


def check_soft_argmax_pool2d_backward(
    backend: Callable[..., tuple[Tensor, Tensor]], case: Case, dtype, channels_last: bool
) -> None:
    shape = (*case.shape[:2], *windows_of(case))
    grad_what = in_layout(smooth_map(shape, dtype, 1), channels_last)
    grad_where = pairs_in_layout(smooth_map((*shape, 2), accumulation_dtype(dtype), 2), memory_format(grad_what))
    for number, x in enumerate((smooth_map(case.shape, dtype, 0) * 3, make_map(case.shape, dtype, seed=0))):
        x = in_layout(x, channels_last)
        beta = make_beta(case, dtype, per_image=number == 1)
        for beta_grad in (False, True):
            arguments = (*geometry(case), beta_grad)
            grad_x, grad_beta = backend(x, beta, grad_what, grad_where, *arguments)
            expected = soft_argmax_pool2d_backward_reference(*double(x, beta, grad_what, grad_where), *arguments)
            assert (grad_x.dtype, grad_beta.dtype) == (dtype, beta.dtype)
            steepness = (1 + beta.double()) * largest(x) * 10
            assert_near(grad_x, expected[0], steepness[..., None, None])
            assert_near(grad_beta, expected[1], largest(x) ** 2 * 10 * max(1, shape[2] * shape[3]) ** 0.5)
            assert_layout(grad_x, x)


def check_soft_argmax_unpool2d(backend: Callable[..., Tensor], case: Case, dtype, channels_last: bool) -> None:
    shape = (*case.shape[:2], *windows_of(case))
    for special in (False, True):
        what = in_layout(make_map(shape, dtype, 3, special), channels_last)
        where = make_pairs(shape, dtype, channels_last, 4, special)
        height, width = case.shape[2:]
        for size in ((height, width), (height + case.stride[0] - 1, max(1, width - 1))):
            actual = backend(what, where, *geometry(case), size)
            expected = soft_argmax_unpool2d_reference(*double(what, where), *geometry(case), size)
            assert actual.dtype == dtype
            assert_near(actual, expected, 3 * largest(what))
            assert_layout(actual, what)


def check_soft_argmax_unpool2d_backward(
    backend: Callable[..., tuple[Tensor, Tensor]], case: Case, dtype, channels_last: bool
) -> None:
    shape = (*case.shape[:2], *windows_of(case))
    for special in (False, True):
        what = in_layout(make_map(shape, dtype, 3, special), channels_last)
        where = make_pairs(shape, dtype, channels_last, 4, special)
        height, width = case.shape[2:]
        for size in ((height, width), (height + case.stride[0] - 1, max(1, width - 1))):
            grad = in_layout(smooth_map((*shape[:2], *size), dtype, 5), channels_last)
            grad_what, grad_where = backend(what, where, grad, *geometry(case))
            expected = soft_argmax_unpool2d_backward_reference(*double(what, where, grad), *geometry(case))
            assert (grad_what.dtype, grad_where.dtype) == (dtype, where.dtype)
            assert_near(grad_what, expected[0], 5.0)
            assert_near(grad_where, expected[1], 5.0 * max(case.kernel_size) * largest(what))
            assert_layout(grad_what, what)
            assert_layout(grad_where, what)
