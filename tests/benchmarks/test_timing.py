"""Who is timed when, and whose the times are."""

from itertools import pairwise

import pytest

from benchmarks.timing import WARM_UP, calibrate, deal, quantiles, take_turns


def test_equal_numbers_of_rounds_alternate():
    assert take_turns([2, 2, 2]) == [0, 1, 2, 0, 1, 2]


def test_the_rounds_of_a_slow_function_are_spread_over_those_of_a_fast_one():
    assert take_turns([4, 2]) == [0, 1, 0, 0, 1, 0]
    turns = take_turns([200, 10, 37])
    assert [turns.count(number) for number in range(3)] == [200, 10, 37]
    places = [place for place, turn in enumerate(turns) if turn == 1]
    assert all(24 <= after - before <= 25 for before, after in pairwise(places))


def test_rounds_are_dealt_back_to_those_whose_turns_they_were():
    assert deal([1.0, 20.0, 2.0, 3.0, 21.0, 4.0], take_turns([4, 2])) == [[1.0, 2.0, 3.0, 4.0], [20.0, 21.0]]
    assert deal([5.0, 6.0], [0, 0]) == [[5.0, 6.0]]


def test_calls_are_repeated_until_a_round_is_long_enough():
    calls = []
    repetitions, seconds = calibrate(lambda: calls.append(0), 1e-3)
    assert seconds >= 1e-3
    assert len(calls) == WARM_UP * (2 * repetitions - 1)


def test_a_long_call_is_a_round():
    repetitions, seconds = calibrate(lambda: None, 0.0)
    assert repetitions == 1 and seconds > 0


def test_quantiles_are_milliseconds():
    times = quantiles([i / 1e3 for i in range(11)])
    assert (times.p20, times.p50, times.p80) == pytest.approx((2, 5, 8))
