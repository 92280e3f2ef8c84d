"""The loop of a fit: rows of ``metrics.csv``, measurements and checkpoints on its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from wwae.training.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
from wwae.training.configuration import RunConfiguration
from wwae.training.fit import Fit
from wwae.training.run_directory import RunDirectory
from wwae.training.session import logger
from wwae.training.tensorboard import EventWriter

__all__ = ["restore", "run_fit"]


def restore(fit: Fit, path: Path) -> dict[str, float] | None:
    """Continue a fit from its checkpoint, if there is one; return its final metrics if it is complete.

    Raises:
        CheckpointError: the checkpoint is damaged or belongs to another run.
    """
    if not path.exists():
        return None
    state = load_checkpoint(path)
    try:
        fit.restore(state)
        metrics = state["metrics"]
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{path}: does not belong to this run: {str(error).splitlines()[0]}") from None
    if metrics is None:
        logger.info("%s, round %d: continue from step %d", fit.network, fit.round_number, fit.step)
    return metrics


def run_fit(
    fit: Fit,
    path: Path,
    run: RunConfiguration,
    directory: RunDirectory,
    events: EventWriter,
    measure: Callable[[], dict[str, float]],
    finish: Callable[[dict[str, float]], dict[str, float]],
    title: str = "",
) -> dict[str, float]:
    """Train a fit from where it is to its end and return its final metrics.

    Args:
        fit (Fit): what is trained.
        path (Path): its checkpoint, written on the way and at the end.
        run (RunConfiguration): how often rows, measurements and checkpoints are made.
        directory (RunDirectory): gets the rows.
        events (EventWriter): gets them, too.
        measure: the columns of ``metrics.csv`` that are measured at the end of an epoch.
        finish: from the last of these to the final metrics.
        title (str): in messages; default the name of the network.

    Raises:
        TrainingDiverged: the loss is not finite any more; the checkpoints before that stay.
    """
    title = title or fit.network
    metrics = None
    # The bar is drawn on a terminal only; elsewhere the lines of the log show how far the run is.
    with tqdm(total=fit.steps, initial=fit.step, desc=title, unit="step", disable=None, mininterval=0.5) as bar:
        while fit.step < fit.steps:
            fit.advance()
            bar.update()
            epoch, into_epoch = divmod(fit.step, fit.steps_per_epoch)
            is_last = fit.step == fit.steps
            is_measured = is_last or (into_epoch == 0 and epoch % run.evaluate_every == 0)
            errors = measure() if is_measured else {}
            if is_measured or fit.step % run.log_every == 0:
                row = fit.take_averages() | errors
                directory.append_metrics(row)
                events.write(row)
                bar.set_postfix_str(f"loss {row['loss']:.3g}, {row['images_per_second']:.0f} images/s")
                if is_measured:
                    epochs = fit.steps // fit.steps_per_epoch
                    logger.info("%s: epoch %d/%d, %s", title, epoch, epochs, _describe(row))
            if is_last:
                metrics = finish(errors)
            if is_last or fit.step % run.checkpoint_every == 0:
                save_checkpoint(path, fit.state() | {"metrics": metrics})
    assert metrics is not None
    return metrics


def _describe(row: dict[str, Any]) -> str:
    words = [f"loss {row['loss']:.4g}"]
    for column, name in (("nll_nats", "nll"), ("reconstruction_loss", "rec"), ("middle_loss", "mid")):
        if row[column] is not None:
            words.append(f"{name} {row[column]:.4g}")
    for column, name in (("validation_error_percent", "validation"), ("test_error_percent", "test")):
        if column in row:
            words.append(f"{name} error {row[column]:.2f} %")
    words.append(f"{row['images_per_second']:.0f} images/s")
    return ", ".join(words)
