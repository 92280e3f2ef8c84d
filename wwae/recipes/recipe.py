"""What a recipe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from wwae.training import InversionConfiguration, StagedConfiguration, TrainingConfiguration

__all__ = ["PaperResult", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class PaperResult:
    """A number printed in a paper, and the settings it belongs to.

    Args:
        metric (str): the metric of ``summary.json`` it stands beside, such as ``test_error`` (percent).
        value (float): the printed number.
        deviation (float | None): the printed ± number.
        labels (int | "all"): the labelled images it was measured with.
        dropout (bool | None): with or without dropout; None where the paper does not tell.
        source (str): paper, table and row.
    """

    metric: str
    value: float
    deviation: float | None = None
    labels: int | Literal["all"]
    dropout: bool | None = None
    source: str

    def belongs_to(self, configuration: TrainingConfiguration) -> bool:
        """Whether the number was measured with the labels and the dropout of ``configuration``."""
        has_dropout = configuration.model.dropout > 0
        return configuration.data.labels == self.labels and self.dropout in (None, has_dropout)

    def __str__(self) -> str:
        """The number as it is printed, such as ``8.71 ± 0.34``."""
        return f"{self.value:.2f}" if self.deviation is None else f"{self.value:.2f} ± {self.deviation:.2f}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An experiment that ``wwae train NAME`` runs.

    Args:
        name (str): its name on the command line.
        summary (str): one line on what it trains.
        aim (str): one line with the paper's number it aims at, or that there is none.
        configuration (Callable[[], TrainingConfiguration | StagedConfiguration | InversionConfiguration]): makes its settings;
            files and the command line change them.
        paper (tuple[PaperResult, ...]): the numbers a run is put beside.
    """

    name: str
    summary: str
    aim: str
    configuration: Callable[[], TrainingConfiguration | StagedConfiguration | InversionConfiguration]
    paper: tuple[PaperResult, ...] = ()

    def paper_result(self, configuration: TrainingConfiguration, metric: str) -> PaperResult | None:
        """The paper's number for a metric of a run with these settings; None where there is none."""
        results = (result for result in self.paper if result.metric == metric and result.belongs_to(configuration))
        return next(results, None)
