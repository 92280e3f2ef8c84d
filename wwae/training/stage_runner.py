"""Runs one stage after another: its fit, its measurements, its checkpoint."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

import torch
from torch import nn

from wwae.models import AugmentedClassifier
from wwae.training.checkpoints import load_checkpoint, save_checkpoint
from wwae.training.classifier_evaluation import decoding, reconstruction_errors, top_errors
from wwae.training.dataset import StagedData, derive_seed
from wwae.training.loop import restore, run_fit
from wwae.training.run_directory import RunDirectory
from wwae.training.session import logger, logging_to, reproducible, resolve_device
from wwae.training.stage_fit import StageFit
from wwae.training.staged_configuration import StagedConfiguration
from wwae.training.stages import Stages, Weights, read_weights
from wwae.training.tensorboard import EventWriter

__all__ = ["LoadStagedData", "StageRunner", "TrainingStopped"]

LoadStagedData = Callable[[int], StagedData]
"""Draws the labelled set with the given seed and returns the data of the run."""


class TrainingStopped(RuntimeError):
    """A process of a stage was ended from outside; what it had saved stays."""


class StageRunner:
    """The stages of one run, its directory and its data.

    Raises:
        ConfigurationError: the network does not fit the data, or can't be mirrored.
    """

    def __init__(
        self, configuration: StagedConfiguration, load_data: LoadStagedData, directory: RunDirectory, device: torch.device
    ) -> None:
        self.configuration = configuration
        self.load_data = load_data
        self.directory = directory
        self.data = load_data(derive_seed(configuration.seed, "labelled set"))
        self.stages = Stages(configuration, self.data, device)

    def run(self, stage: str, predecessor: str | None, events: EventWriter) -> None:
        """Run a stage to its end: from its checkpoint if it has one, else from the weights of its predecessor."""
        start = None if predecessor is None else read_weights(self.directory, predecessor)
        if stage == "initial":
            self._initialise(start)
        elif stage == "layerwise" and self.configuration.layerwise.processes > 1:
            self._train_in_processes(start)
        else:
            self._train(stage, self.stages.fit(stage, start), events)

    def train_macro_layer(self, number: int) -> None:
        """Train the decoder of one macro-layer, counted from 0, to a checkpoint of its own: a part of stage 2."""
        fit = self.stages.fit("layerwise", read_weights(self.directory, "initial"), [number])
        path = self.directory.stage_checkpoint(fit.network)
        with EventWriter(self.directory, self.configuration.run.tensorboard) as events:
            # Rows after the checkpoint were dropped before the processes started, since they share the file.
            if restore(fit, path) is None:
                run_fit(fit, path, self.configuration.run, self.directory, events, dict, dict)

    def _train(self, stage: str, fit: StageFit, events: EventWriter) -> None:
        path = self.directory.stage_checkpoint(stage)
        if restore(fit, path) is not None:
            return
        self.directory.drop_metrics_after(1, fit.network, fit.step)
        if fit.steps == 0:
            save_checkpoint(path, fit.state() | {"metrics": self._metrics(stage, fit.model)})
            return
        is_classified = stage in ("classifier", "joint", "control")
        metrics = run_fit(
            fit,
            path,
            self.configuration.run,
            self.directory,
            events,
            measure=(lambda: {f"{name}_percent": value for name, value in self._errors(fit.model).items()})
            if is_classified
            else dict,
            finish=lambda _: self._metrics(stage, fit.model),
        )
        logger.info("%s: %s", stage, ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))

    def _initialise(self, encoder: Weights | None) -> None:
        path = self.directory.stage_checkpoint("initial")
        if not path.exists():
            model = self.stages.augmented(encoder=encoder)
            save_checkpoint(path, _finished(model, self._metrics("initial", model), 0.0))

    def _train_in_processes(self, start: Weights | None) -> None:
        """Train every macro-layer's decoder in a process of its own, and put the results together."""
        path = self.directory.stage_checkpoint("layerwise")
        if path.exists():
            return
        numbers = range(len(self.stages.layers))
        parts = [self.directory.stage_checkpoint(self.stages.layerwise_name(number)) for number in numbers]
        for number, part in zip(numbers, parts, strict=True):
            step = load_checkpoint(part)["step"] if part.exists() else 0
            self.directory.drop_metrics_after(1, self.stages.layerwise_name(number), step)
        processes = min(self.configuration.layerwise.processes, len(numbers))
        threads = max(1, torch.get_num_threads() // processes)
        spawning = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, spawning, _end_with_parent) as pool:
            jobs = [
                pool.submit(_train_macro_layer, self.configuration, self.load_data, self.directory.path, number, threads)
                for number in numbers
            ]
            try:
                for job in jobs:
                    job.result()
            except BrokenProcessPool:
                raise TrainingStopped(
                    "layerwise: a process that trained a macro-layer was ended from outside, as when memory runs out; "
                    f"wwae train --resume {self.directory.path} continues"
                ) from None
        model = self.stages.augmented(start)
        seconds = 0.0
        for number, part in zip(numbers, parts, strict=True):
            state = load_checkpoint(part)
            trained = {name: value for name, value in state["model"].items() if name.startswith(f"decoders.{number}.")}
            model.load_state_dict(trained, strict=False)
            seconds += state["seconds"]
        save_checkpoint(path, _finished(model, self._metrics("layerwise", model), seconds))

    def _metrics(self, stage: str, model: nn.Module) -> dict[str, float]:
        """What a finished stage is summed up by."""
        metrics: dict[str, float] = {}
        if stage in ("classifier", "initial", "joint", "control"):
            metrics |= self._errors(model)
        if stage == "layerwise":
            assert isinstance(model, AugmentedClassifier)
            with decoding(model, variant="layerwise"):
                errors = reconstruction_errors(model, self.data.test)
            below = ("image", *self.stages.layers)
            metrics |= {f"layer_l2_{name}": error for name, error in zip(below, errors, strict=False)}
        if stage in ("stacked", "joint"):
            assert isinstance(model, AugmentedClassifier)
            metrics["reconstruction_l2"] = reconstruction_errors(model, self.data.test)[0]
        return metrics

    def _errors(self, model: nn.Module) -> dict[str, float]:
        """The errors of a classifier, or of the one that is augmented, in percent."""
        classifier = model.classifier if isinstance(model, AugmentedClassifier) else model
        errors = {"test_error": top_errors(classifier, self.data.test)[0]}
        if self.data.validation is not None:
            errors["validation_error"] = top_errors(classifier, self.data.validation)[0]
        return errors


def _finished(model: nn.Module, metrics: dict[str, float], seconds: float) -> dict[str, Any]:
    return {"model": model.state_dict(), "metrics": metrics, "seconds": seconds}


def _train_macro_layer(configuration: StagedConfiguration, load_data: LoadStagedData, path: Any, number: int, threads: int) -> None:
    """The work of one process of stage 2."""
    torch.set_num_threads(threads)
    directory = RunDirectory(path)
    with reproducible(), logging_to(directory):
        StageRunner(configuration, load_data, directory, resolve_device(configuration.device)).train_macro_layer(number)


def _end_with_parent() -> None:
    """End this process when the one that started it is gone, so that none writes into a run that is continued elsewhere."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait_and_end() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait_and_end, daemon=True).start()
