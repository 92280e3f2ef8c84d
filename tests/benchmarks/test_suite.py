"""The suite itself, on maps of a few kilobytes: every benchmark runs, is checked against the definition, and leaves its row."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run_suite(*options, **environment):
    command = [sys.executable, "-m", "pytest", "-c", "benchmarks/pytest.ini", "benchmarks", "--quick", "--benchmark-max-time=0.01"]
    # pytest-benchmark times nothing where it sees the marks of a parallel run, which this test may be a part of.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run([*command, *options], cwd=ROOT, env=kept | environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_every_benchmark_leaves_its_row(tmp_path):
    path = tmp_path / "results.json"
    finished = run_suite("-k", "not compile", f"--results={path}")
    assert finished.returncode == 0, finished.stdout
    results = json.loads(path.read_text())
    operations = {file.stem.removeprefix("bench_") for file in (ROOT / "benchmarks").glob("bench_*.py")}
    assert {row["operation"] for row in results["rows"]} == operations
    assert {row["provider"] for row in results["rows"]} == {"copy", "matmul", "wwae", "eager"}
    assert all(0 < row["ms_p20"] <= row["ms_p50"] <= row["ms_p80"] for row in results["rows"])
    computed = [row for row in results["rows"] if row["provider"] not in ("copy", "matmul")]
    assert all(row["kept_bytes"] is not None for row in computed)
    assert all(row["peak_bytes"] > 0 for row in computed)
    assert "% of copy" in finished.stdout


def test_peak_memory_is_measured_alone(tmp_path):
    path = tmp_path / "results.json"
    chosen = "switch_pool2d and small-float32-contiguous-step"
    assert run_suite("-k", f"{chosen} and (copy or wwae)", f"--results={path}").returncode == 0
    timed = json.loads(path.read_text())["rows"]
    finished = run_suite("-k", f"{chosen} and (wwae or eager)", "--memory-only", f"--results={path}")
    assert finished.returncode == 0, finished.stdout
    assert "switch_pool2d, peak memory in MB" in finished.stdout
    rows = json.loads(path.read_text())["rows"]
    assert [row["provider"] for row in rows] == ["copy", "wwae"]
    assert [row["ms_p50"] for row in rows] == [row["ms_p50"] for row in timed]
    assert "peak_run" not in rows[0] and rows[1]["peak_run"] != rows[1]["run"] and rows[1]["peak_bytes"] == timed[1]["peak_bytes"]


@pytest.mark.slow
def test_compiled_pytorch_is_measured(tmp_path):
    path = tmp_path / "results.json"
    finished = run_suite("-k", "switch_unpool2d and small-float32-contiguous and (wwae or compile)", f"--results={path}")
    assert finished.returncode == 0, finished.stdout
    rows = json.loads(path.read_text())["rows"]
    assert {(row["direction"], row["provider"]) for row in rows} == {
        (direction, provider) for direction in ("forward", "backward", "step") for provider in ("wwae", "compile")
    }


@pytest.mark.slow
def test_a_wrong_result_is_not_timed(tmp_path):
    """The suite with an operation whose values are one too large."""
    spoiled = tmp_path / "spoiled.py"
    spoiled.write_text(
        "import wwae\n"
        "pool = wwae.ops.switch_pool2d\n"
        "def wrong(x, *arguments):\n"
        "    values, switches = pool(x, *arguments)\n"
        "    return values + (wwae.ops.backends._forced() == 'auto'), switches\n"
        "wwae.ops.switch_pool2d = wrong\n"
    )
    chosen = "switch_pool2d and small-float32-contiguous-forward and wwae"
    finished = run_suite("-p", "spoiled", "-k", chosen, PYTHONPATH=str(tmp_path))
    assert finished.returncode == 1
    assert "1 failed" in finished.stdout
    assert "Tensor-likes are not equal" in finished.stdout
