"""How long the calls of a comparison take. They take turns, so that all meet the same machine, however its speed drifts."""

from __future__ import annotations

import math
import statistics
import timeit
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import torch

WARM_UP = 3


@dataclass(frozen=True)
class Times:
    """Milliseconds of a call at three quantiles."""

    p20: float
    p50: float
    p80: float


def time_calls(request: pytest.FixtureRequest, functions: Sequence[Callable[[], Any]], device: str) -> list[Times]:
    """Time the functions of a comparison: on the CPU in turns, on a GPU one after the other."""
    if device == "cpu":
        return [quantiles(seconds) for seconds in _time_in_turns(request, functions)]
    return [_time_on_gpu(function) for function in functions]


def _time_in_turns(request: pytest.FixtureRequest, functions: Sequence[Callable[[], Any]]) -> list[list[float]]:
    """Seconds of a call in each round of each function.

    pytest-benchmark takes the time, and its options say how long: a round at least ``--benchmark-min-time`` or one call, each
    function at least ``--benchmark-max-time`` and ``--benchmark-min-rounds``.
    """
    option = request.config.getoption
    shortest, altogether = float(option("benchmark_min_time")), float(option("benchmark_max_time"))
    repetitions, seconds = zip(*(calibrate(function, shortest) for function in functions), strict=True)
    turns = take_turns([max(option("benchmark_min_rounds"), math.ceil(altogether / each)) for each in seconds])
    upcoming = iter([(functions[turn], repetitions[turn]) for turn in turns])
    benchmark = request.getfixturevalue("benchmark")
    benchmark.pedantic(_repeat, setup=lambda: (next(upcoming), {}), rounds=len(turns))
    dealt = deal(benchmark.stats.stats.data, turns)
    return [[each / count for each in rounds] for rounds, count in zip(dealt, repetitions, strict=True)]


def _repeat(function: Callable[[], Any], repetitions: int) -> None:
    for _ in range(repetitions):
        function()


def calibrate(function: Callable[[], Any], shortest: float) -> tuple[int, float]:
    """How many calls make a round of at least ``shortest`` seconds, and the seconds of that round. The calls warm up, too."""
    repetitions = 1
    while (seconds := min(timeit.repeat(function, repeat=WARM_UP, number=repetitions))) < shortest:
        repetitions *= 2
    return repetitions, seconds


def take_turns(rounds: Sequence[int]) -> list[int]:
    """The order of so many rounds of each function: those of each are spread evenly over all, equal numbers alternate.

    A slow function has fewer rounds than a fast one: ``[4, 2]`` gives ``[0, 1, 0, 0, 1, 0]``.
    """
    places = [((turn + 0.5) / count, number) for number, count in enumerate(rounds) for turn in range(count)]
    return [number for _, number in sorted(places)]


def deal(seconds: Sequence[float], turns: Sequence[int]) -> list[list[float]]:
    """The times of rounds in the order of their turns, dealt back to the functions whose turns they were."""
    dealt: list[list[float]] = [[] for _ in range(max(turns) + 1)]
    for turn, each in zip(turns, seconds, strict=True):
        dealt[turn].append(each)
    return dealt


def _time_on_gpu(function: Callable[[], Any]) -> Times:
    """Inside a CUDA graph, with the L2 cache flushed before each run."""
    from triton.testing import do_bench

    function()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        function()
    p20, p50, p80 = do_bench(graph.replay, rep=200, quantiles=(0.2, 0.5, 0.8))
    return Times(p20, p50, p80)


def quantiles(seconds: list[float]) -> Times:
    """Quantiles of the times of a call, one time a round."""
    tenths = statistics.quantiles([1e3 * s for s in seconds], n=10, method="inclusive")
    return Times(tenths[1], tenths[4], tenths[7])
