"""Faults planted in a kernel are found, each by the build that is there to find it; without fault all builds are content."""

from __future__ import annotations

from pathlib import Path

import pytest
from emulation import row_sums
from emulation.build import build, missing
from emulation.sanitizers import run

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

ORDERS = [(0, 0), (1, 0), (2, 1), (2, 2), (2, 3)]  # forward, reverse, random with three seeds


def outcome(name: str, fault: str, order: tuple[int, int] = (0, 0)) -> str:
    """What row_sums.py prints in one of the builds, and what a sanitizer says."""
    result = run(name, str(Path(row_sums.__file__)), str(build(name)), fault, *map(str, order))
    return result.stdout + result.stderr


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("name", ["plain", "sanitized", "threads"])
def test_without_fault(name: str, order: tuple[int, int]):
    assert outcome(name, "none", order) == "right\n"


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_values_show_a_missing_barrier(order: tuple[int, int]):
    assert outcome("plain", "no_barrier", order) == "wrong\n"


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("divergent_barrier", ": sync_threads: thread"),
        ("skipped_barrier", "no thread can go on: 63 wait in sync_threads at"),
        ("early_exit", "have left the kernel|no thread can go on"),
        ("wrong_mask", ": shuffle_xor: mask 0xffff leaves out lane|, which is not in mask 0xffff"),
        ("different_masks", "with mask 0x"),
        ("lane_outside_mask", "which is not in mask 0xffff"),
    ],
)
def test_broken_rules_are_errors_that_name_the_line(fault: str, words: str, order: tuple[int, int]):
    text = outcome("plain", fault, order)
    assert any(word in text for word in words.split("|")), text
    assert "faults.cpp:" in text


@pytest.mark.parametrize("fault", ["no_barrier", "no_sync_warp", "block_race"])
def test_thread_sanitizer_finds_races(fault: str):
    assert "WARNING: ThreadSanitizer: data race" in outcome("threads", fault)


@pytest.mark.parametrize("fault", ["shared_out_of_bounds", "global_out_of_bounds"])
def test_address_sanitizer_finds_accesses_outside(fault: str):
    assert "AddressSanitizer: heap-buffer-overflow" in outcome("sanitized", fault)


def test_undefined_behaviour_sanitizer_finds_a_misaligned_vector():
    assert "misaligned address" in outcome("sanitized", "misaligned_vector")
