"""Switches: where the maximum of each pooling window stood, one byte a window."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from wwae.ops._arguments import has_values, pair, pool_arguments, require_offsets
from wwae.reference.window import Pair, memory_format, offset_dtype, pooled_sizes, switch_positions

__all__ = ["Switches"]


def _part(number: int, doc: str) -> Any:
    """An attribute that is read from the geometry, which is kept as one tuple: setting it costs what one attribute costs."""
    return property(lambda switches: switches._geometry[number], doc=doc)


class Switches:
    """The positions of the maxima of one pooling, with the geometry that gives them a meaning. Immutable.

    Attributes:
        offsets (Tensor[N, C, OH, OW] or Tensor[C, OH, OW], uint8 | int16 | int32): row-major offset ``r * KW + c`` of each maximum
            inside its window, counting every tap, padding and dilation included. The dtype is the smallest that holds the window.
        kernel_size, stride, padding, dilation (tuple[int, int]): the pooling's arguments, ``(height, width)``.
        ceil_mode (bool): the pooling's argument.
        input_size (tuple[int, int]): ``(H, W)`` of the map that was pooled.

    Two switches are equal when their geometry, shape, dtype, device and offsets are. Switches pass through ``torch.compile``,
    ``torch.export``, hooks and ``torch.save``/``torch.load(weights_only=True)``.

    Raises:
        RuntimeError: for offsets of another dtype, or of a shape that this pooling of this map does not give.

    Example:
        >>> values, switches = wwae.ops.switch_pool2d(torch.randn(1, 64, 32, 32), 2)
        >>> switches.offsets.dtype, switches.nbytes
        (torch.uint8, 16384)
    """

    __slots__ = ("_geometry", "offsets")

    offsets: Tensor
    _geometry: tuple[Pair, Pair, Pair, Pair, bool, Pair]
    kernel_size: Pair = _part(0, "Height and width of the window.")
    stride: Pair = _part(1, "Distance of neighbouring windows, down and across.")
    padding: Pair = _part(2, "Rows and columns added on each side.")
    dilation: Pair = _part(3, "Distance of neighbouring taps, down and across.")
    ceil_mode: bool = _part(4, "Whether a last window that hangs over the edge was pooled.")
    input_size: Pair = _part(5, "Height and width of the map that was pooled.")

    def __init__(
        self,
        offsets: Tensor,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
        *,
        input_size: int | Pair,
    ) -> None:
        geometry = pool_arguments("Switches", kernel_size, stride, padding, dilation)
        size = pair("Switches", "input_size", input_size)
        require_offsets("Switches", offsets, geometry[0])
        windows = pooled_sizes(size, *geometry, ceil_mode)
        if offsets.dim() not in (3, 4) or tuple(offsets.shape[-2:]) != windows:
            raise RuntimeError(
                f"Switches: expected offsets of shape (N, C, {windows[0]}, {windows[1]}) or (C, {windows[0]}, {windows[1]}) "
                f"for input_size={size}, got {tuple(offsets.shape)}"
            )
        _fill(self, offsets, (*geometry, bool(ceil_mode), size))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"Switches is immutable: cannot set {name}")

    __delattr__ = None  # type: ignore[assignment]

    @classmethod
    def from_indices(
        cls,
        indices: Tensor,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        ceil_mode: bool = False,
        *,
        input_size: int | Pair,
    ) -> Switches:
        """Switches from PyTorch's indices.

        Args:
            indices (Tensor[N, C, OH, OW] or Tensor[C, OH, OW], int64): ``h * W + w`` of each maximum; -1 for a window without one.
            kernel_size, stride, padding, dilation, ceil_mode, input_size: of the pooling that gave the indices.

        Raises:
            RuntimeError: if an index lies outside its own window, or the shape is not this pooling's; the first bad index is named.
                Where indices have no values to look at, as in a compiled graph or a ``vmap``, a bad one gives another tap, or none.
        """
        operation = "Switches.from_indices"
        geometry = kernel, steps, pads, gaps = pool_arguments(operation, kernel_size, stride, padding, dilation)
        height, width = pair(operation, "input_size", input_size)
        if indices.dtype != torch.int64:
            raise RuntimeError(f"{operation}: expected indices of dtype torch.int64, got {indices.dtype}")
        if indices.dim() not in (3, 4):
            raise RuntimeError(f"{operation}: expected indices of shape (N, C, OH, OW) or (C, OH, OW), got {tuple(indices.shape)}")
        row = torch.div(indices, width, rounding_mode="floor")
        column = indices - row * width
        oh, ow = (torch.arange(n, device=indices.device) for n in indices.shape[-2:])
        down = row - (oh * steps[0] - pads[0]).unsqueeze(-1)
        across = column - (ow * steps[1] - pads[1])
        r, c = (torch.div(distance, gap, rounding_mode="floor") for distance, gap in ((down, gaps[0]), (across, gaps[1])))
        inside = (r * gaps[0] == down) & (r >= 0) & (r < kernel[0]) & (c * gaps[1] == across) & (c >= 0) & (c < kernel[1])
        inside &= (indices >= 0) & (indices < height * width)
        # An offset of 0 names no real tap exactly where the window starts in the padding; only there does -1 come back as it went.
        missing = (indices == -1) & ~switch_positions(torch.zeros_like(indices), *geometry, (height, width))[2]
        known = inside | missing
        if has_values(indices) and not known.all():
            place = tuple((~known).nonzero()[0].tolist())
            raise RuntimeError(
                f"{operation}: expected every index inside its own window, got {int(indices[place])} at {place} "
                f"(a map of {height}x{width}, kernel_size={kernel}, stride={steps}, padding={pads}, dilation={gaps})"
            )
        offsets = torch.where(missing, 0, r * kernel[1] + c).to(offset_dtype(kernel))
        return cls(offsets, *geometry, ceil_mode, input_size=(height, width))

    def indices(self) -> Tensor:
        """PyTorch's int64 indices ``h * W + w`` (NCHW-flat in every memory format), -1 for a switch that names no real tap."""
        row, column, real = switch_positions(
            self.offsets, self.kernel_size, self.stride, self.padding, self.dilation, self.input_size
        )
        flat = torch.where(real, row * self.input_size[1] + column, -1)
        return flat.contiguous(memory_format=memory_format(self.offsets)) if flat.dim() == 4 else flat

    @property
    def nbytes(self) -> int:
        """Bytes that the offsets take."""
        return self.offsets.nbytes

    @property
    def shape(self) -> torch.Size:
        """Shape of the offsets, which is the shape of the pooled values."""
        return self.offsets.shape

    @property
    def device(self) -> torch.device:
        """Where the offsets are."""
        return self.offsets.device

    def to(self, device: torch.device | str | int, non_blocking: bool = False) -> Switches:
        """The same switches on ``device``.

        Raises:
            TypeError: ``device`` is none, such as a dtype, which is what the window asks for.
        """
        if not isinstance(device, (torch.device, str, int)):
            raise TypeError(f"Switches.to: expected device to be a device, its name or number, got {device!r}")
        return _make(self.offsets.to(device, non_blocking=non_blocking), *self._geometry)

    def detach(self) -> Switches:
        """The same switches with offsets detached from any graph."""
        return _make(self.offsets.detach(), *self._geometry)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Switches):
            return NotImplemented
        return (
            self._geometry == other._geometry
            and self.offsets.dtype == other.offsets.dtype
            and self.offsets.device == other.offsets.device
            and torch.equal(self.offsets, other.offsets)
        )

    def __hash__(self) -> int:
        return hash((*self._geometry, tuple(self.offsets.shape), self.offsets.dtype))

    def __repr__(self) -> str:
        return (
            f"Switches({tuple(self.offsets.shape)}, {self.offsets.dtype}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}, input_size={self.input_size}, "
            f"device='{self.offsets.device}')"
        )

    def __reduce__(self) -> tuple:
        return _make, (self.offsets, *self._geometry)


def _fill(switches: Switches, offsets: Tensor, geometry: tuple[Pair, Pair, Pair, Pair, bool, Pair]) -> None:
    object.__setattr__(switches, "offsets", offsets)
    object.__setattr__(switches, "_geometry", geometry)


def _make(
    offsets: Any, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool, input_size: Pair
) -> Switches:
    """Switches without checks: for parts that an operation or another ``Switches`` has checked."""
    switches = object.__new__(Switches)
    _fill(switches, offsets, (kernel_size, stride, padding, dilation, ceil_mode, input_size))
    return switches


# The input sizes are children: as context they would be constants, and a dynamic export could not make them symbols.
def _flatten(switches: Switches) -> tuple[list[Any], list[Any]]:
    kernel_size, stride, padding, dilation, ceil_mode, input_size = switches._geometry
    return [switches.offsets, *input_size], [kernel_size, stride, padding, dilation, ceil_mode]


def _flatten_with_keys(switches: Switches) -> tuple[list[tuple[Any, Any]], list[Any]]:
    children, context = _flatten(switches)
    keys = (pytree.GetAttrKey("offsets"), pytree.GetAttrKey("input_height"), pytree.GetAttrKey("input_width"))
    return list(zip(keys, children, strict=True)), context


def _unflatten(children: Any, context: list[Any]) -> Switches:
    offsets, height, width = children
    kernel_size, stride, padding, dilation, ceil_mode = context
    return _make(offsets, kernel_size, stride, padding, dilation, ceil_mode, (height, width))


pytree.register_pytree_node(
    Switches,
    _flatten,
    _unflatten,
    serialized_type_name="wwae.ops.Switches",
    flatten_with_keys_fn=_flatten_with_keys,
    to_dumpable_context=lambda context: [list(part) if isinstance(part, tuple) else part for part in context],
    from_dumpable_context=lambda context: [tuple(part) if isinstance(part, list) else part for part in context],
)
torch.serialization.add_safe_globals([Switches, _make])
