"""The suite itself, on maps of a few kilobytes: every benchmark runs, is checked against the definition, and leaves its rows."""

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
def test_every_benchmark_leaves_its_rows(tmp_path):
    path = tmp_path / "results.json"
    finished = run_suite("--providers=copy,matmul,wwae,eager", f"--results={path}")
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


def test_a_comparison_leaves_a_row_for_each_provider_asked_for(tmp_path):
    path = tmp_path / "results.json"
    chosen = "unpool_conv2d and small-float32-contiguous-forward"
    finished = run_suite("-k", chosen, "--providers=eager,matmul,wwae", f"--results={path}")
    assert finished.returncode == 0, finished.stdout
    assert "1 passed" in finished.stdout
    rows = json.loads(path.read_text())["rows"]
    assert [row["provider"] for row in rows] == ["wwae", "eager", "matmul"]
    assert all(0 < row["ms_p20"] <= row["ms_p50"] <= row["ms_p80"] for row in rows)


def test_an_unknown_provider_is_refused():
    finished = run_suite("--providers=wwae,eagre")
    assert finished.returncode == 4
    assert "unknown: 'eagre'; known: copy, wwae, eager, compile, matmul" in finished.stderr


def test_peak_memory_is_measured_alone(tmp_path):
    path = tmp_path / "results.json"
    chosen = ("-k", "switch_pool2d and small-float32-contiguous-step", f"--results={path}")
    assert run_suite(*chosen, "--providers=copy,wwae").returncode == 0
    timed = json.loads(path.read_text())["rows"]
    finished = run_suite(*chosen, "--providers=wwae,eager", "--memory-only")
    assert finished.returncode == 0, finished.stdout
    assert "switch_pool2d, peak memory in MB" in finished.stdout
    rows = json.loads(path.read_text())["rows"]
    assert [row["provider"] for row in rows] == ["copy", "wwae"]
    assert [row["ms_p50"] for row in rows] == [row["ms_p50"] for row in timed]
    assert "peak_run" not in rows[0] and rows[1]["peak_run"] != rows[1]["run"] and rows[1]["peak_bytes"] == timed[1]["peak_bytes"]


@pytest.mark.slow
def test_compiled_pytorch_is_measured(tmp_path):
    path = tmp_path / "results.json"
    finished = run_suite("-k", "switch_unpool2d and small-float32-contiguous", "--providers=wwae,compile", f"--results={path}")
    assert finished.returncode == 0, finished.stdout
    rows = json.loads(path.read_text())["rows"]
    assert {(row["direction"], row["provider"]) for row in rows} == {
        (direction, provider) for direction in ("forward", "backward", "step") for provider in ("wwae", "compile")
    }


@pytest.mark.slow
def test_a_wrong_result_is_not_timed(tmp_path):
    """The suite with an operation whose values are one too large: what it is compared with keeps its row."""
    spoiled = tmp_path / "spoiled.py"
    spoiled.write_text(
        "import wwae\n"
        "pool = wwae.ops.switch_pool2d\n"
        "def wrong(x, *arguments):\n"
        "    values, switches = pool(x, *arguments)\n"
        "    return values + (wwae.ops.backends._forced() == 'auto'), switches\n"
        "wwae.ops.switch_pool2d = wrong\n"
    )
    path = tmp_path / "results.json"
    chosen = ("-k", "switch_pool2d and small-float32-contiguous-forward", "--providers=copy,wwae", f"--results={path}")
    finished = run_suite("-p", "spoiled", *chosen, PYTHONPATH=str(tmp_path))
    assert finished.returncode == 1
    assert "1 failed" in finished.stdout
    assert "Tensor-likes are not equal" in finished.stdout
    assert [row["provider"] for row in json.loads(path.read_text())["rows"]] == ["copy"]
