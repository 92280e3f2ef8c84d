"""Write the tables of ``docs/results.md`` from ``docs/results/*.json``.

``python docs/make_results.py RUN…`` first adds finished runs: ``docs/results/<name of the run directory>.json`` gets the settings
and the summary of the run, without the folders of the machine it ran on.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from generated import write_generated
from inversion_results import inversion_section, is_inversion
from staged_results import data_name, is_staged, staged_section

from wwae.cli.result import format_percent
from wwae.recipes import find_recipe
from wwae.training import RunDirectory, TrainingConfiguration

DOCS = Path(__file__).parent
RESULTS = DOCS / "results"

HEADER = ("labels", "dropout", "rounds", "epochs", "seed", "network", "test error, %", "paper, %", "difference")
NETWORKS = {"test_error": "SWWAE", "baseline_test_error": "convnet"}


def add(path: Path) -> None:
    """Keep the result of a finished run."""
    directory = RunDirectory.open(path)
    summary = json.loads(directory.summary.read_text(encoding="utf-8"))
    summary["command"] = without_folders(summary["command"])
    settings = directory.read_configuration().model_dump(mode="json", exclude_none=True, exclude={"run", "resume"})
    settings["data"].pop("root", None)
    if Path(str(settings["model"].get("weights"))).is_file():
        settings["model"]["weights"] = Path(settings["model"]["weights"]).name
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"configuration": settings, "summary": summary}, indent=1)
    (RESULTS / f"{path.resolve().name}.json").write_text(text + "\n", encoding="utf-8")


def without_folders(command: str) -> str:
    """A command without the folders of one machine: its data are where a reader has them, its run where runs go."""
    command = re.sub(r"( --model\.weights[= ])(?:'(?:[^']*/)?([^'/]+)'|(?:\S*/)?([^\s/]+))", r"\1\2\3", command)
    command = re.sub(r" --run\.dir[= ](?:'[^']*'|\S+)", "", command)
    command = re.sub(r"( --start-from[= ])(?:'(?:[^']*/)?([^'/]+)'|(?:\S*/)?([^\s/]+))", r"\1runs/\2\3", command)
    return re.sub(r"( --data\.root[= ])(?:'[^']*'|\S+)", r"\1DIR", command)


def rows_of(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row for each network of a run, beside the paper's number where it has one."""
    configuration = TrainingConfiguration.from_values(result["configuration"])
    recipe, metrics = find_recipe(configuration.recipe), result["summary"]["metrics"]
    rows = []
    for metric, network in NETWORKS.items():
        if metric in metrics:
            paper = recipe.paper_result(configuration, metric)
            settings = (configuration.data.labels, f"{configuration.model.dropout:g}", configuration.rounds)
            numbers = (
                format_percent(metrics, metric).removesuffix(" %"),
                "–" if paper is None else str(paper),
                "–" if paper is None else f"{metrics[metric] - paper.value:+.2f}",
            )
            rows.append((*map(str, settings), str(configuration.epochs), str(configuration.seed), network, *numbers))
    return rows


def section(recipe: str, results: list[dict[str, Any]]) -> str:
    """The runs of one recipe, and the command of each."""
    rows = [row for result in results for row in rows_of(result)]
    lines = [f"| {' | '.join(row)} |" for row in (HEADER, tuple("---" for _ in HEADER), *rows)]
    commands = []
    for result in results:
        summary = result["summary"]
        minutes = summary["seconds"] / 60
        commands.append(
            f"- `{summary['command']}`: {minutes:.0f} minutes of training on {summary['device']}, "
            f"PyTorch {summary['versions']['torch']}"
        )
    return "\n".join([f"## {recipe}", "", find_recipe(recipe).summary + ".", "", *lines, "", *commands, ""])


def generated_text() -> str:
    """The generated part of the document."""
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("*.json"))]
    by_recipe: dict[str, list[dict[str, Any]]] = {}
    by_data: dict[str, list[dict[str, Any]]] = {}
    inverted: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if is_staged(result):
            by_data.setdefault(data_name(result), []).append(result)
        elif is_inversion(result):
            inverted.setdefault(result["summary"]["recipe"], []).append(result)
        else:
            by_recipe.setdefault(result["summary"]["recipe"], []).append(result)
    sections = [section(recipe, runs) for recipe, runs in by_recipe.items()]
    sections += [staged_section(name, runs) for name, runs in by_data.items()]
    sections += [inversion_section(recipe, runs) for recipe, runs in inverted.items()]
    return "\n".join(sections) or "No run is recorded yet."


def main() -> None:
    """Add the runs that are named, then write the document."""
    for path in sys.argv[1:]:
        add(Path(path))
    write_generated(DOCS / "results.md", "docs/make_results.py", generated_text())


if __name__ == "__main__":
    main()
