"""Bytes that an operation has to move: what its results need, whoever computes them.

They are counted once for all providers, so that GB/s compares time alone. They are a model of the traffic, not a reading of
hardware counters. ``E`` is the number of elements of the map, ``P`` of windows, ``e`` the bytes of an element, ``o`` of a switch
(1 byte here) or of an index (8 bytes).
"""

from __future__ import annotations

from benchmarks.cases import Setting

CACHE_LINE = 64
INDEX_BYTES = 8
POSITION_BYTES = 8  # two float32


def pool_forward(setting: Setting, where_bytes: int) -> int:
    """``E e + P (e + o)``: read the map; write the values and where they stood."""
    e = setting.element_bytes
    return setting.case.elements * e + setting.case.windows * (e + where_bytes)


def unpool_forward(setting: Setting, where_bytes: int) -> int:
    """``P (e + o) + E e``: read the values and where they belong; write the map, zeros included."""
    return pool_forward(setting, where_bytes)


def gather(setting: Setting, where_bytes: int) -> int:
    """``P o + min(E e, 64 P) + P e``: read the switches, and one element a window out of the map; write the values.

    Memory is read in lines of 64 bytes, so small windows read the whole map and large ones a line each.
    """
    e, windows = setting.element_bytes, setting.case.windows
    return windows * where_bytes + min(setting.case.elements * e, CACHE_LINE * windows) + windows * e


def masked_unpool(setting: Setting, where_bytes: int) -> int:
    """``P (2 e + o) + E e``: as unpooling, and the pooled values, which say what ReLU stopped."""
    return unpool_forward(setting, where_bytes) + setting.case.windows * setting.element_bytes


def window_sums(setting: Setting) -> int:
    """``2 P e``: read the gradient of the windows and their values, for the gradient of a parameter."""
    return 2 * setting.case.windows * setting.element_bytes


def in_direction(setting: Setting, forward: int, backward: int) -> int:
    """The bytes of what is timed; a step is forward and backward."""
    return {"forward": forward, "backward": backward, "step": forward + backward}[setting.direction]
