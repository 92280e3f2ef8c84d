"""The arithmetic of the benchmark suite: counted bytes, the results file, the tables."""

import json
import subprocess
from dataclasses import replace

import pytest

from benchmarks import results, table, traffic
from benchmarks.cases import PROVIDERS, Case, Setting, cases, comparisons, convolved_cases, quick_cases
from benchmarks.convolution import convolution_flops

CASE = Case("a", batch=2, channels=3, size=8, kernel=2, stride=2)
SETTING = Setting(CASE, "float32", "contiguous", "forward", "wwae")


def row(provider="wwae", ms=2.0, **changes):
    setting = {"operation": "o", "case": "a", "dtype": "float32", "layout": "contiguous", "direction": "forward"}
    return {**setting, "provider": provider, "ms_p50": ms, "gb_per_s": 1.0, "kept_bytes": 0, **changes}


def test_bytes_of_small_windows():
    elements, windows = 2 * 3 * 64, 2 * 3 * 16
    assert traffic.pool_forward(SETTING, 1) == 4 * elements + 5 * windows
    assert traffic.unpool_forward(SETTING, 1) == 5 * windows + 4 * elements
    assert traffic.gather(SETTING, 1) == windows + 4 * elements + 4 * windows


def test_bytes_of_large_windows_are_a_cache_line_each():
    case = Case("large", batch=1, channels=1, size=64, kernel=16, stride=16)
    assert traffic.gather(replace(SETTING, case=case), 1) == 16 * (1 + 64 + 4)


def test_bytes_follow_the_dtype():
    assert traffic.pool_forward(replace(SETTING, dtype="bfloat16"), 1) == 2 * 384 + 3 * 96


@pytest.mark.parametrize(("direction", "expected"), [("forward", 3), ("backward", 5), ("step", 8)])
def test_bytes_of_a_direction(direction, expected):
    assert traffic.in_direction(replace(SETTING, direction=direction), 3, 5) == expected


def test_windows_of_overlapping_pools():
    assert Case("b", 1, 1, 55, kernel=3, stride=2).windows == 27 * 27
    assert Case("b", 1, 1, 55, kernel=3, stride=2).overlapping
    assert not CASE.overlapping


def test_cases_are_the_ones_the_design_names():
    assert [c.name for c in cases(4)] == [
        *(f"vgg16.pool{i}" for i in range(1, 6)),
        *(f"alexnet.pool{i}" for i in range(1, 4)),
        "window16",
    ]
    assert {c.batch for c in cases(64)} == {64}


def test_convolutions_are_measured_where_vgg_and_a_swwae_pool():
    chosen = convolved_cases(4)
    assert [c.name for c in chosen] == [*(f"vgg16.pool{i}" for i in range(1, 6)), *(f"swwae.pool{i}" for i in range(1, 4))]
    assert {c.batch for c in chosen} == {4, 64}


def test_multiplications_of_a_convolution():
    once = 2 * 2 * 3 * 64 * 3 * 9
    for direction, passes in (("forward", 1), ("backward", 2), ("step", 3)):
        assert convolution_flops(replace(SETTING, direction=direction)) == passes * once


def test_a_table_of_what_multiplies_has_a_column_for_the_product_of_matrices():
    lines = table.table([row(), row("copy", 1.0), row("matmul", 1.5), row("eager", 4.0)], "o")
    assert lines[0] == ("case", "dtype", "layout", "direction", "ms", "GB/s", "% of copy", "% of matmul", "× eager", "× compile")
    assert lines[1][4:] == ("2.000", "1.0", "50", "75", "2.00", "–")


def test_the_settings_of_a_comparison_differ_in_their_provider_alone():
    compared = list(comparisons(quick_cases(), ("float32",), PROVIDERS))
    assert all([setting.provider for setting in settings] == list(PROVIDERS) for settings in compared)
    names = [{setting.comparison for setting in settings} for settings in compared]
    assert names[0] == {"small-float32-contiguous-forward"}
    assert len(set.union(*names)) == len(names) == sum(map(len, names))


def test_nobody_is_no_comparison():
    assert list(comparisons(quick_cases(), ("float32",), ())) == []


def test_measuring_again_replaces_rows_and_drops_runs_without_rows():
    first = {"date": "1", "commit": "a"}
    second = {"date": "2", "commit": "b"}
    old = results.merge({"runs": {}, "rows": []}, first, [row(ms=2.0), row("eager", 6.0)])
    part = results.merge(old, second, [row(ms=1.0)])
    assert [(r["provider"], r["ms_p50"], r["run"]) for r in part["rows"]] == [("wwae", 1.0, "2 b"), ("eager", 6.0, "1 a")]
    assert list(part["runs"]) == ["1 a", "2 b"]
    whole = results.merge(part, second, [row(ms=1.0), row("eager", 5.0)])
    assert list(whole["runs"]) == ["2 b"]


def test_peaks_alone_go_into_rows_that_are_there_and_leave_their_times():
    first, second = {"date": "1", "commit": "a"}, {"date": "2", "commit": "b"}
    old = results.merge({"runs": {}, "rows": []}, first, [row(ms=2.0), row("copy", 1.0)])
    peaks = results.merge_peaks(old, second, [row(ms=None, peak_bytes=7), row("copy", peak_bytes=None), row("eager", peak_bytes=9)])
    copy, ours = peaks["rows"]
    assert (ours["ms_p50"], ours["run"], ours["peak_bytes"], ours["peak_run"]) == (2.0, "1 a", 7, "2 b")
    assert copy == old["rows"][0]
    assert list(peaks["runs"]) == ["1 a", "2 b"]
    again = results.merge(peaks, second | {"date": "3"}, [row(ms=1.0, peak_bytes=8)])
    assert list(again["runs"]) == ["1 a", "3 b"]
    assert "peak_run" not in again["rows"][1]


def test_memory_of_a_step_stands_side_by_side_and_what_was_not_measured_is_a_dash():
    ours = {"direction": "step", "peak_bytes": 1_500_000}
    rows = [row(**ours), row("eager", direction="step"), row(peak_bytes=1), row(**ours | {"layout": "channels_last"}, run="1 a")]
    names = [f"{provider}, {layout}" for layout in ("contiguous", "channels_last") for provider in ("wwae", "eager", "compile")]
    assert table.memory(rows, "peak_bytes") == [
        ("operation", "case", "dtype", *names),
        ("o", "a", "float32", "1.50", "–", "–", "1.50", "–", "–"),
    ]
    assert table.memory(rows, "kept_bytes", ["contiguous"])[1] == ("o", "a", "float32", "0.00", "0.00", "–")


def test_the_file_is_json_with_a_row_a_line(tmp_path):
    path = tmp_path / "results" / "machine.json"
    written = results.merge({"runs": {}, "rows": []}, {"date": "1", "commit": "a"}, [row(), row("eager")])
    results.write(path, written)
    assert results.read(path) == written
    assert json.dumps(written["rows"][0]) + ",\n" in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["machine.json"]


def test_a_file_that_is_not_there_is_empty(tmp_path):
    assert results.read(tmp_path / "none.json") == {"runs": {}, "rows": []}


@pytest.mark.parametrize(
    ("device", "name", "expected"),
    [
        ("cpu", "Intel(R) Xeon(R) Processor @ 2.50GHz", "cpu-intel-xeon-processor-2.50ghz.json"),
        ("cpu", "AMD EPYC 7742 64-Core Processor", "cpu-amd-epyc-7742-64-core-processor.json"),
        ("cuda", "NVIDIA H200", "nvidia-h200.json"),
    ],
)
def test_a_file_is_named_by_the_machine(monkeypatch, device, name, expected):
    monkeypatch.setattr(results, "device_name", lambda device: name)
    assert results.default_path(device).name == expected


def test_the_table_puts_rivals_beside_ours():
    rows = [row("copy", 1.0), row("wwae", 2.0), row("eager", 6.0)]
    lines = table.table(rows, "o")
    assert lines[0] == table.HEADER
    assert lines[1] == ("a", "float32", "contiguous", "forward", "2.000", "1.0", "50", "3.00", "–")
    assert table.table([row("eager")], "o") == [table.HEADER]
    assert table.markdown(lines).splitlines()[1] == "|" + " --- |" * 9
    assert len({len(line) for line in table.plain([("a", "b"), ("cc", "d")]).splitlines()}) == 1


def test_the_table_compares_within_a_run():
    rows = [row("copy", 1.0) | {"run": "2 b"}, row("wwae", 2.0) | {"run": "2 b"}, row("eager", 6.0) | {"run": "1 a"}]
    assert table.table(rows, "o")[1][4:] == ("2.000", "1.0", "50", "–", "–")


def test_a_table_of_several_runs_says_which_one_a_line_is_from():
    rows = [row(run="1 a"), row(run="2 b", case="b"), row("eager", 6.0, run="2 b", case="b")]
    lines = table.table(rows, "o", ["1 a", "2 b"])
    assert lines[0] == (*table.HEADER, "run")
    assert [line[-1] for line in lines[1:]] == ["1", "2"]


def test_a_table_of_memory_says_which_runs_measured_it():
    ours = {"direction": "step", "peak_bytes": 1_500_000, "run": "1 a"}
    rows = [row(**ours, peak_run="3 c"), row("eager", **ours), row("compile", **ours | {"peak_bytes": None}, peak_run="2 b")]
    runs = ["1 a", "2 b", "3 c"]
    assert table.memory(rows, "peak_bytes", ["contiguous"], runs)[1][3:] == ("1.50", "1.50", "–", "1, 3")
    assert table.memory(rows, "kept_bytes", ["contiguous"], runs)[1][3:] == ("0.00", "0.00", "0.00", "1")


def test_what_a_rival_does_faster_is_listed_by_operation():
    fast = [row(), row("eager", 6.0)]
    slow = [row(ms=0.3, operation="p", case="b", run="1 a"), row("eager", 0.2999, operation="p", case="b", run="1 a")]
    other = [row(ms=4.0, case="c"), row("eager", 1.0, case="c"), row(ms=4.0, direction="step"), row("eager", 1.0, direction="step")]
    rows = [*slow, *fast, *other]
    assert list(table.factors(rows, "eager", "forward").values()) == pytest.approx([0.2999 / 0.3, 3, 0.25])
    assert table.factors(rows, "compile", "forward") == {}
    assert table.slower(rows, "eager", "forward") == [
        ("operation", "case", "dtype", "layout", "× eager", "wwae, µs", "eager, µs"),
        ("o", "c", "float32", "contiguous", "0.250", "4000.0", "1000.0"),
        ("p", "b", "float32", "contiguous", "1.000", "300.0", "299.9"),
    ]
    assert [line[-1] for line in table.slower(rows, "eager", "forward", ["1 a"])] == ["run", "", "1"]


def test_copies_of_as_many_bytes_are_compared_within_a_run():
    copies = [
        row("copy", ms, bytes=count, run=run)
        for ms, count, run in ((1.0, 8, "1 a"), (3.0, 8, "1 a"), (9.0, 8, "2 b"), (7.0, 9, "1 a"))
    ]
    assert table.spread_of_copies([*copies, row(ms=100.0, bytes=8, run="1 a")]) == 3.0
    assert table.spread_of_copies(copies[2:]) is None


def test_the_commit_is_known_before_the_first_results_are_written(monkeypatch, tmp_path):
    repository = tmp_path / "benchmarks"
    repository.mkdir()
    for words in (["init", "-q"], ["-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", repository, *words], check=True)
    monkeypatch.setattr(results, "DIRECTORY", repository / "results")
    assert len(results._commit()) == 12
