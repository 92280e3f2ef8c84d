"""The generated parts of the documents: up to date with the committed results, and made as they say."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = {"convolutions.md": "make_convolutions", "performance.md": "make_performance", "results.md": "make_results"}


@pytest.fixture
def script(monkeypatch):
    """Import a script of docs/ as it is run: from its own folder, in the checkout."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    monkeypatch.syspath_prepend(str(ROOT))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.startswith(("make_", "generated", "staged_results", "inversion_results")):
            del sys.modules[name]


@pytest.mark.parametrize(("document", "name"), SCRIPTS.items())
def test_documents_are_what_the_scripts_make(script, document, name):
    assert script(name).generated_text().strip() in (ROOT / "docs" / document).read_text(encoding="utf-8"), "run `make docs`"


def test_only_what_stands_between_the_markers_changes(script, tmp_path):
    generated = script("generated")
    document = tmp_path / "a.md"
    begin = generated.BEGIN.format(script="s.py")
    document.write_text(f"before\n{begin}\nold\n{generated.END}\nafter\n")
    generated.write_generated(document, "s.py", "new")
    generated.write_generated(document, "s.py", "newer")
    assert document.read_text() == f"before\n{begin}\n\nnewer\n\n{generated.END}\nafter\n"


def test_a_document_without_markers_is_left_alone(script, tmp_path):
    document = tmp_path / "a.md"
    document.write_text("words")
    with pytest.raises(ValueError, match=r"a\.md: expected the lines"):
        script("generated").write_generated(document, "s.py", "new")
    assert document.read_text() == "words"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("wwae train mnist-swwae --data.root /a/b --labels 100", "wwae train mnist-swwae --data.root DIR --labels 100"),
        ("wwae train --data.root='/a b/c' --run.dir=/tmp/x --seed 1", "wwae train --data.root=DIR --seed 1"),
        ("wwae train --run.dir '/tmp/my runs/x'", "wwae train"),
        ("wwae train a --model.weights /a/b.pth --seed 1", "wwae train a --model.weights b.pth --seed 1"),
        ("wwae train a --model.weights=IMAGENET1K_V1", "wwae train a --model.weights=IMAGENET1K_V1"),
        ("wwae train a --start-from /tmp/b --seed 1", "wwae train a --start-from runs/b --seed 1"),
        ("wwae train a --start-from='/tmp/my runs/b'", "wwae train a --start-from=runs/b"),
    ],
)
def test_a_recorded_command_names_no_folder_of_a_machine(script, command, expected):
    assert script("make_results").without_folders(command) == expected


def test_a_finished_run_becomes_rows_beside_the_paper(script, tmp_path, monkeypatch):
    from wwae.recipes import find_recipe
    from wwae.training import RunDirectory

    results = script("make_results")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    changes = {"data": {"root": tmp_path}, "run": {"dir": tmp_path / "mnist-100"}, "model": {"dropout": 0.5}}
    directory = RunDirectory.create(tmp_path / "mnist-100", find_recipe("mnist-swwae").configuration().updated(changes))
    metrics = {"test_error": 10.0, "baseline_test_error": 20.0, "reconstruction_l2": 3.0}
    facts = {"seed": 0, "epochs": 5, "seconds": 600.0, "device": "cpu", "versions": {"torch": "2.15"}}
    command = f"wwae train mnist-swwae --data.root {tmp_path}"
    directory.write_summary({"recipe": "mnist-swwae", "command": command, "metrics": metrics, **facts})

    results.add(tmp_path / "mnist-100")

    kept = tmp_path / "results" / "mnist-100.json"
    assert str(tmp_path) not in kept.read_text()
    assert results.rows_of(json.loads(kept.read_text())) == [
        ("100", "0.5", "1", "5", "0", "SWWAE", "10.00", "8.71 ± 0.34", "+1.29"),
        ("100", "0.5", "1", "5", "0", "convnet", "20.00", "22.98", "-2.98"),
    ]
    text = results.generated_text()
    assert "| 100 | 0.5 | 1 | 5 | 0 | SWWAE | 10.00 | 8.71 ± 0.34 | +1.29 |" in text
    assert "`wwae train mnist-swwae --data.root DIR`: 10 minutes of training on cpu" in text


def test_finished_runs_in_stages_become_means_beside_the_paper(script, tmp_path, monkeypatch):
    from wwae.recipes import find_recipe
    from wwae.training import RunDirectory

    results = script("make_results")
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    for seed, control, augmented in ((0, 6.0, 5.0), (1, 7.0, 6.5)):
        path = tmp_path / f"run-{seed}"
        changes = {"seed": seed, "data": {"root": tmp_path}, "run": {"dir": path}}
        directory = RunDirectory.create(path, find_recipe("mnist-vgg-swwae-all").configuration().updated(changes))
        metrics = {"classifier_test_error": 7.0, "baseline_test_error": control, "test_error": augmented, "reconstruction_l2": 3.0}
        facts = {"seed": seed, "epochs": 5, "seconds": 90.0, "device": "cpu", "versions": {"torch": "2.15"}}
        command = f"wwae train mnist-vgg-swwae-all --start-from {tmp_path}/run-0"
        directory.write_summary({"recipe": "mnist-vgg-swwae-all", "command": command, "metrics": metrics, "stages": {}, **facts})
        results.add(path)
    text = results.generated_text()
    row = "| SWWAE-all | 0, 1 | 7.00 ± 0.00 | 6.50 ± 0.71 | 5.75 ± 1.06 | -0.75 ± 0.35 | -1.66 | 3.00 ± 0.00 |"
    assert "## mnist-vgg\n" in text and row in text
    words = "(and with seeds 1): 1.5 to 1.5 minutes of training on cpu, PyTorch 2.15"
    assert f"- `wwae train mnist-vgg-swwae-all --start-from runs/run-0` {words}" in text


def test_measurements_become_tables_and_a_figure(script, tmp_path, monkeypatch):
    performance = script("make_performance")
    setting = {"operation": "switch_pool2d", "case": "a", "dtype": "float32", "layout": "contiguous", "direction": "step"}
    times = {"copy": 1.0, "wwae": 2.0, "eager": 6.0, "compile": 4.0}
    kept = {"copy": None, "wwae": 1_000_000, "eager": 9_000_000, "compile": 4_000_000}
    rows = [
        {
            **setting,
            "provider": p,
            "ms_p50": ms,
            "gb_per_s": 8 / ms,
            "bytes": 8,
            "kept_bytes": kept[p],
            "peak_bytes": kept[p],
            "run": "r",
        }
        for p, ms in times.items()
    ]
    facts = {"device": "A CPU", "threads": 2, "instruction_set": "AVX2", "allocator": "default"}
    run = {**facts, "torch": "2.15", "wwae": "0.1.0", "commit": "abc", "date": "2026-01-01"}
    path = tmp_path / "cpu-a.json"
    path.write_text(json.dumps({"runs": {"r": run}, "rows": rows}))
    text = performance.section(path)
    assert "A CPU, 2 threads, AVX2, allocator default, PyTorch 2.15, wwae 0.1.0 at abc, 2026-01-01" in text
    assert "| a | float32 | contiguous | step | 2.000 | 4.0 | 50 | 3.00 | 2.00 | 1 |" in text
    assert "| switch_pool2d | a | float32 | 1.00 | 9.00 | 4.00 | 1 |\n" in text.partition("### Kept for backward, MB")[2]
    assert (
        "| switch_pool2d | a | float32 | 1.00 | 9.00 | 4.00 | – | – | – | 1 |" in text.partition("### Peak memory of a step, MB")[2]
    )
    assert text.count("**step** (of `switch_pool2d`): slower in 0 of 1 comparisons;") == 2
    assert "Copies of the same number of bytes" not in text
    performance.draw(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_losses_stand_before_all_other_measurements_and_copies_say_how_far_they_are_to_be_trusted(script, tmp_path):
    performance = script("make_performance")
    setting = {"operation": "o", "dtype": "float32", "layout": "contiguous", "direction": "backward", "bytes": 8, "gb_per_s": 1.0}
    times = {
        ("a", "copy"): 1.0,
        ("a", "wwae"): 2.0,
        ("a", "eager"): 1.5,
        ("b", "copy"): 3.0,
        ("b", "wwae"): 2.0,
        ("b", "eager"): 5.0,
    }
    rows = [{**setting, "case": case, "provider": p, "ms_p50": ms, "run": "second"} for (case, p), ms in times.items()]
    facts = {"device": "A GPU", "cuda": "13", "driver": "1", "triton": "3", "torch": "2", "wwae": "0", "commit": "abc", "date": "d"}
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"runs": {"first": facts, "second": facts}, "rows": rows}))
    eager, _, rest = performance.section(path).partition("### Slower than `torch.compile`")
    assert "**backward** (of `o`): slower in 1 of 2 comparisons; the median of × eager in all of them is 1.62." in eager
    assert eager.splitlines()[-2] == "| o | a | float32 | contiguous | 0.750 | 2000.0 | 1500.0 | 2 |"
    assert rest.startswith("\n\nNot measured.\n\n### Bandwidth of a training step\n")
    assert "differ by a factor of up to 3.0;" in rest
