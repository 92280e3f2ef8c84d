"""Runs a kernel with a planted fault in a process without PyTorch: `python faulty.py KERNEL FAULT ORDER SEED`,
with the library in WWAE_EMULATION_LIBRARY.

Prints "right", "wrong" or the emulation's error. A sanitizer that finds something ends the process before.
"""

import ctypes
import os
import struct
import sys

FAULTS = {
    # In the order of the enumerations in faults.cpp and gemm.cuh.
    "row_sums": (
        "none", "no_barrier", "divergent_barrier", "skipped_barrier", "early_exit", "wrong_mask", "different_masks",
        "lane_outside_mask", "no_sync_warp", "shared_out_of_bounds", "global_out_of_bounds", "misaligned_vector", "block_race",
    ),
    "gemm": (
        "none", "no_wait", "no_barrier_after_wait", "no_barrier_before_refill", "unfinished_copies", "misaligned_row",
        "bank_conflicts",
    ),
}  # fmt: skip


def row_sums(library: ctypes.CDLL, fault: int) -> bool:
    rows, columns, threads = 3, 256, 64
    # Multiples of 1/64 that add without rounding.
    x = [(7919 * i % 257 - 128) / 64 for i in range(rows * columns)]
    output = (ctypes.c_float * (rows * threads))()
    library.emulate_row_sums(ctypes.c_int64(fault), (ctypes.c_float * len(x))(*x), output, ctypes.c_int64(rows))
    return list(output) == [sum(x[columns * row : columns * (row + 1)]) for row in range(rows) for _ in range(threads)]


def bfloat16(values: list[float]) -> ctypes.Array:
    """Numbers of few digits, which the upper half of a float32 holds."""
    halves = [struct.unpack("<HH", struct.pack("<f", value))[1] for value in values]
    return (ctypes.c_uint16 * len(values))(*halves)


def gemm(library: ctypes.CDLL, fault: int) -> bool:
    rows, columns, depth = 64, 64, 96
    a = [(7919 * i % 33 - 16) / 8 for i in range(rows * depth)]
    b = [(104729 * i % 31 - 15) / 8 for i in range(columns * depth)]
    c = (ctypes.c_float * (rows * columns))()
    sizes = (ctypes.c_int64(depth), ctypes.c_int64(columns))
    library.emulate_gemm(ctypes.c_int64(2), ctypes.c_int64(fault), bfloat16(a), bfloat16(b), c, *sizes)
    a_rows = [a[depth * i : depth * (i + 1)] for i in range(rows)]
    b_rows = [b[depth * i : depth * (i + 1)] for i in range(columns)]
    return list(c) == [sum(x * y for x, y in zip(row, column, strict=True)) for row in a_rows for column in b_rows]


def main(kernel: str, fault: str, order: int, seed: int) -> str:
    library = ctypes.CDLL(os.environ["WWAE_EMULATION_LIBRARY"])
    library.emulation_error.restype = ctypes.c_char_p
    library.emulation_set_order(ctypes.c_int64(order), ctypes.c_int64(seed))
    right = {"row_sums": row_sums, "gemm": gemm}[kernel](library, FAULTS[kernel].index(fault))
    if error := library.emulation_error():
        return error.decode()
    return "right" if right else "wrong"


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
