from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from idx_files import write_data_set

from wwae.cli import main

# A run of two steps: 40 unlabelled images in batches of 20.
TINY = [
    "--labels=20",
    "--model.architecture=(4)3c-2p-(4)3c-2p-10fc",
    "--epochs=1",
    "--device=cpu",
    "--run.log_every=1",
    "--run.checkpoint_every=1",
    "--optimizer.labelled_batch_size=10",
    "--optimizer.unlabelled_batch_size=20",
]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up data set in the form of MNIST: 60 training images and 20 for testing."""
    root = tmp_path_factory.mktemp("mnist")
    write_data_set(root)
    return root


@pytest.fixture
def train_tiny(data_root: Path) -> Callable[..., int]:
    """Runs ``wwae train`` on the made-up data, with further words, and returns the exit status."""

    def train(*words: str, recipe: str = "mnist-swwae") -> int:
        return main(["train", recipe, f"--data.root={data_root}", *TINY, *words])

    return train


@pytest.fixture(scope="session")
def finished_run(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of two rounds, for commands that only read it."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", "mnist-swwae", f"--data.root={data_root}", *TINY, "--rounds=2", f"--run.dir={path}"]) == 0
    return path
