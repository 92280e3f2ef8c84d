"""Runs the kernel of faults.cpp in a process without PyTorch: `python row_sums.py LIBRARY FAULT ORDER SEED`.

Prints "right", "wrong" or the emulation's error. A sanitizer that finds something ends the process before.
"""

import ctypes
import sys

FAULTS = (
    "none", "no_barrier", "divergent_barrier", "skipped_barrier", "early_exit", "wrong_mask", "different_masks",
    "lane_outside_mask", "no_sync_warp", "shared_out_of_bounds", "global_out_of_bounds", "misaligned_vector", "block_race",
)  # fmt: skip
ROWS, COLUMNS, THREADS = 3, 256, 64


def main(path: str, fault: str, order: int, seed: int) -> str:
    library = ctypes.CDLL(path)
    library.emulation_error.restype = ctypes.c_char_p
    library.emulation_set_order(ctypes.c_int64(order), ctypes.c_int64(seed))
    # Multiples of 1/64 that add without rounding.
    x = [(7919 * i % 257 - 128) / 64 for i in range(ROWS * COLUMNS)]
    output = (ctypes.c_float * (ROWS * THREADS))()
    library.emulate_row_sums(ctypes.c_int64(FAULTS.index(fault)), (ctypes.c_float * len(x))(*x), output, ctypes.c_int64(ROWS))
    if error := library.emulation_error():
        return error.decode()
    expected = [sum(x[COLUMNS * row : COLUMNS * (row + 1)]) for row in range(ROWS) for _ in range(THREADS)]
    return "right" if list(output) == expected else "wrong"


if __name__ == "__main__":
    print(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
