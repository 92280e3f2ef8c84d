"""Any pooling geometry, for hypothesis."""

from hypothesis import strategies as st
from kernel_cases import Case


def pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def any_case(draw: st.DrawFn) -> Case:
    """Windows that PyTorch allows, on maps of up to 24 x 40, some of them 2 x 2 / 2 or 3 x 3 / 2, which have kernels of
    their own; channels around the lengths of vectors."""
    kernel_size, stride, dilation = draw(
        st.one_of(
            st.sampled_from([((2, 2), (2, 2), (1, 1)), ((3, 3), (2, 2), (1, 1))]),
            st.tuples(pairs(1, 5), pairs(1, 4), pairs(1, 3)),
        )
    )
    padding = tuple(draw(st.integers(0, kernel // 2)) for kernel in kernel_size)
    extents = [(kernel - 1) * step + 1 for kernel, step in zip(kernel_size, dilation, strict=True)]
    least = [max(2, extent - 2 * pad) for extent, pad in zip(extents, padding, strict=True)]
    height, width = draw(st.integers(least[0], 24)), draw(st.integers(least[1], 40))
    channels = draw(st.sampled_from([1, 2, 3, 7, 8, 16, 17]))
    shape = (draw(st.integers(1, 2)), channels, height, width)
    return Case(shape, kernel_size, stride, padding, dilation, draw(st.booleans()))
