"""Training of an augmented classifier in stages, each with its checkpoint.

Zhang, Lee and Lee (2016, arXiv:1606.06582), section 4.1:

========  ==============  ====================================================  ==================================
number    stage           what is learnt                                        starts from
========  ==============  ====================================================  ==================================
0         ``classifier``  the classifier, on labels                             new weights
1         ``initial``     nothing: the trained encoder and a Gaussian decoder   ``classifier``
2         ``layerwise``   every macro-layer's decoder, from the encoder's maps  ``initial``
3         ``stacked``     the decoders in a chain                               ``layerwise``
4         ``joint``       everything                                            ``stacked`` or ``layerwise``
4         ``control``     the classifier without decoder, as long as ``joint``  ``classifier``
========  ==============  ====================================================  ==================================

A variant that is layerwise has no stage 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wwae.training.checkpoints import load_checkpoint
from wwae.training.configuration import ConfigurationError
from wwae.training.run_directory import RunDirectory
from wwae.training.session import logger, logging_to, make_summary, open_directory, reproducible, resolve_device
from wwae.training.shared_stages import find_shared, take_stages
from wwae.training.stage_runner import LoadStagedData, StageRunner
from wwae.training.staged_configuration import StagedConfiguration
from wwae.training.staged_figures import draw_staged_curves
from wwae.training.tensorboard import EventWriter

__all__ = ["Stage", "plan_stages", "read_stages", "train_in_stages"]


@dataclass(frozen=True)
class Stage:
    """A stage: its number in the paper, its name, and the stage whose weights it starts from."""

    number: int
    name: str
    predecessor: str | None

    def __str__(self) -> str:
        return f"stage {self.number} ({self.name})"


def plan_stages(configuration: StagedConfiguration) -> tuple[Stage, ...]:
    """Return the stages of a run in their order."""
    stages = [Stage(0, "classifier", None), Stage(1, "initial", "classifier"), Stage(2, "layerwise", "initial")]
    if configuration.model.variant != "layerwise":
        stages.append(Stage(3, "stacked", "layerwise"))
    return (*stages, Stage(4, "joint", stages[-1].name), Stage(4, "control", "classifier"))


def read_stages(directory: RunDirectory, configuration: StagedConfiguration) -> dict[str, dict[str, float]]:
    """Return the metrics of the stages that a run has finished, by name, with their ``seconds``.

    Raises:
        CheckpointError: a checkpoint is damaged.
    """
    found = {}
    for stage in plan_stages(configuration):
        path = directory.stage_checkpoint(stage.name)
        if path.exists():
            state = load_checkpoint(path)
            if state.get("metrics") is not None:
                found[stage.name] = {**state["metrics"], "seconds": round(state["seconds"], 3)}
    return found


def train_in_stages(
    configuration: StagedConfiguration,
    load_data: LoadStagedData,
    command: str = "",
    stage: int | None = None,
    start_from: Path | None = None,
) -> dict[str, Any]:
    """Run the stages of a configuration, or continue them when ``configuration.resume`` is set, and return the summary.

    Everything that can be refused is refused before a file is written. A run that is killed continues with ``resume`` from its last
    checkpoint, and ends with the same numbers as one that was not.

    Args:
        configuration (StagedConfiguration): the settings; ``run.dir`` must be set.
        load_data (Callable[[int], StagedData]): draws the labelled set with the given seed, in [0, 2**32). With
            ``layerwise.processes`` above 1 it is called in other processes, too, so it must be picklable.
        command (str): the command that started the run, for the summary.
        stage (int | None): run the stage with this number alone, from the checkpoint of its predecessor; None runs all.
        start_from (Path | None): directory of a run in stages; its finished stages that a new run has in common with it, by their
            settings, are taken over. The six variants of a network share the classifier and its control, and three of them each the
            layer-wise decoders.

    Returns:
        The content of ``summary.json``, which is written when all stages are finished; before that ``metrics`` is empty.

    Raises:
        ConfigurationError: a setting is not possible with these data, on this machine, or in a run that is resumed; there is no
            such stage, or its predecessor is not finished.
        RunDirectoryError: ``run.dir`` cannot take the run, or holds none to resume.
        CheckpointError: a checkpoint to start from is damaged.
        TrainingDiverged: the loss is not finite any more; the checkpoints before that stay.
    """
    device = resolve_device(configuration.device)
    stages = plan_stages(configuration)
    chosen = [each for each in stages if stage is None or each.number == stage]
    if not chosen:
        known = ", ".join(str(each) for each in stages)
        raise ConfigurationError(
            f"stage: expected one of {known}, got {stage}"
            + ("; a layerwise decoder has no chain to train" if stage == 3 and configuration.model.variant == "layerwise" else "")
        )
    if configuration.resume and start_from is not None:
        raise ConfigurationError(f"start-from: expected a new run, got resume for {configuration.run.dir}")
    directory = open_directory(configuration)
    shared = () if start_from is None else find_shared(configuration, RunDirectory.open(start_from))
    _check_predecessors(chosen, stages, {*read_stages(directory, configuration), *shared}, directory)
    # Building the networks checks them against the data.
    runner = StageRunner(configuration, load_data, directory, device)
    if not configuration.resume:
        directory = RunDirectory.create(directory.path, configuration)
    with reproducible(), logging_to(directory), EventWriter(directory, configuration.run.tensorboard) as events:
        logger.info(
            "%s: %s on %s, %d labelled + %d unlabelled + %d test images, in %s",
            "continue" if configuration.resume else "start",
            configuration.recipe,
            device,
            len(runner.data.labelled),
            len(runner.data.unlabelled or ()),
            len(runner.data.test),
            directory.path,
        )
        if start_from is not None:
            take_stages(directory, RunDirectory(start_from), shared)
            logger.info("taken from %s: %s", start_from, ", ".join(shared))
        for each in chosen:
            runner.run(each.name, each.predecessor, events)
        finished = read_stages(directory, configuration)
        is_complete = len(finished) == len(stages)
        metrics = _metrics_of_run(finished) if is_complete else {}
        seconds = sum(metrics["seconds"] for metrics in finished.values())
        summary = make_summary(configuration, command, device, seconds, metrics, stages=finished)
        if is_complete:
            draw_staged_curves(directory.read_metrics(), finished["classifier"]["test_error"], directory.figures / "curves.png")
            directory.write_summary(summary)
            for name, value in metrics.items():
                logger.info("%s %.4g", name, value)
    return summary


def _check_predecessors(chosen: list[Stage], stages: tuple[Stage, ...], finished: set[str], directory: RunDirectory) -> None:
    """Check that what the chosen stages start from is finished or among them."""
    ready = finished | {each.name for each in chosen}
    for each in chosen:
        if each.predecessor is not None and each.predecessor not in ready:
            before = next(stage for stage in stages if stage.name == each.predecessor)
            raise ConfigurationError(
                f"stage: {each} starts from the weights of {before}, which is not finished in {directory.path}; "
                f"run that first, with --stage {before.number}, or all stages without --stage"
            )


def _metrics_of_run(finished: dict[str, dict[str, float]]) -> dict[str, float]:
    """The metrics of the joint stage, those of its control as ``baseline_…`` and those of stage 0 as ``classifier_…``."""
    metrics = {name: value for name, value in finished["joint"].items() if name != "seconds"}
    for prefix, stage in (("baseline_", "control"), ("classifier_", "classifier")):
        metrics |= {prefix + name: value for name, value in finished[stage].items() if name.endswith("error")}
    return metrics
