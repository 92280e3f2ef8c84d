from pathlib import Path

import pytest

from wwae.cli.result import describe_result
from wwae.recipes import find_recipe
from wwae.training import RunDirectory


def described(metrics: dict[str, float], recipe: str = "mnist-swwae", **changes) -> list[str]:
    configuration = find_recipe(recipe).configuration().updated(changes)
    summary = {"recipe": recipe, "epochs": configuration.epochs, "seconds": 130.4, "metrics": metrics}
    return [line.strip() for line in describe_result(configuration, summary, RunDirectory(Path("run"))).splitlines() if line]


def test_one_round_is_called_one_round() -> None:
    lines = described({"test_error": 9.17, "baseline_test_error": 20.0, "reconstruction_l2": 1.234})
    assert lines[0] == "mnist-swwae, 100 labels, 5 epochs, 2 min 10 s of training"
    assert lines[1].startswith("test error, SWWAE ") and "9.17 %" in lines[1]
    assert lines[1].endswith("paper: 9.17 ± 0.11 % (Zhao et al. 2015, Table 5, SWWAE without dropout)")
    assert lines[2].startswith("test error, plain convnet ") and "20.00 %" in lines[2]
    assert lines[2].endswith("paper: 22.98 % (Zhao et al. 2015, Table 5, Convnet)")
    assert lines[3] == "difference 10.83 points in favour of the SWWAE with this one labelled set; --rounds 5 averages over five"
    assert lines[4] == "squared reconstruction error of a test image: 1.23"
    assert lines[5:] == ["pictures  run/figures/reconstructions.png", "run/figures/curves.png", "run       run"]


@pytest.mark.parametrize(
    ("baseline", "difference"),
    [(8.0, "difference 1.00 points in favour of the plain convnet"), (9.0, "no difference")],
)
def test_several_rounds_come_with_their_deviation(baseline: float, difference: str) -> None:
    metrics = {"test_error": 9.0, "test_error_std": 0.5, "baseline_test_error": baseline, "baseline_test_error_std": 1.0}
    lines = described(metrics, recipe="digits", rounds=3)
    assert "mean of 3 rounds" in lines[0] and lines[1].endswith("9.00 ± 0.50 %") and "paper" not in lines[1]
    assert lines[3] == difference
