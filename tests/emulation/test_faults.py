"""Faults planted in a kernel are found, each by the build that is there to find it; without fault all builds are content."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulation import faulty
from emulation.build import missing
from emulation.sanitizers import run

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

ORDERS = [(0, 0), (1, 0), (2, 1), (2, 2), (2, 3)]  # forward, reverse, random with three seeds


def outcome(name: str, kernel: str, fault: str, order: tuple[int, int] = (0, 0)) -> str:
    """What faulty.py prints in one of the builds, and what a sanitizer says."""
    result = run(name, str(Path(faulty.__file__)), kernel, fault, *map(str, order))
    return result.stdout + result.stderr


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", ["plain", "sanitized", "threads"])
@pytest.mark.parametrize("kernel", ["row_sums", "gemm"])
def test_without_fault(name: str, kernel: str, order: tuple[int, int]):
    assert outcome(name, kernel, "none", order) == "right\n"


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_values_show_a_missing_barrier(order: tuple[int, int]):
    assert outcome("plain", "row_sums", "no_barrier", order) == "wrong\n"


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("divergent_barrier", ": sync_threads: thread"),
        ("skipped_barrier", "can go on: 63 wait in sync_threads at"),
        ("early_exit", "have left the kernel"),
        ("wrong_mask", ": shuffle_xor: mask 0xffff leaves out lane|, which is not in mask 0xffff"),
        ("different_masks", "with mask 0x"),
        ("lane_outside_mask", "which is not in mask 0xffff"),
    ],
)
def test_broken_rules_are_errors_that_name_the_line(fault: str, words: str, order: tuple[int, int]):
    text = outcome("plain", "row_sums", fault, order)
    assert any(word in text for word in words.split("|")), text
    assert "faults.cpp:" in text


@pytest.mark.parametrize(
    ("kernel", "fault"),
    [
        ("row_sums", "no_barrier"),
        ("row_sums", "no_sync_warp"),
        ("row_sums", "block_race"),
        ("gemm", "no_barrier_after_wait"),
        ("gemm", "no_barrier_before_refill"),
    ],
)
def test_thread_sanitizer_finds_races(kernel: str, fault: str):
    assert "WARNING: ThreadSanitizer: data race" in outcome("threads", kernel, fault)


@pytest.mark.parametrize("fault", ["shared_out_of_bounds", "global_out_of_bounds"])
def test_address_sanitizer_finds_accesses_outside(fault: str):
    assert "AddressSanitizer: heap-buffer-overflow" in outcome("sanitized", "row_sums", fault)


def test_undefined_behaviour_sanitizer_finds_a_misaligned_vector():
    assert "misaligned address" in outcome("sanitized", "row_sums", "misaligned_vector")
