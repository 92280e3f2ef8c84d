"""Checkpoints that are whole or not there, and random states that continue where they stopped."""

from __future__ import annotations

import hashlib
import io
import os
import random
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

__all__ = [
    "CheckpointError",
    "load_checkpoint",
    "random_states",
    "restore_random_states",
    "save_checkpoint",
    "write_atomically",
]

FORMAT = "wwae checkpoint 1"
DIGEST_BYTES = hashlib.sha256().digest_size


class CheckpointError(RuntimeError):
    """A checkpoint file that cannot be used; the message names the file and what is wrong with it."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` so that ``path`` holds either the old checkpoint or the whole new one, whenever the process dies.

    Raises:
        OSError: the directory cannot be written to.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    with _replacing(path) as file:
        file.write(buffer.getbuffer())
        file.write(hashlib.sha256(buffer.getbuffer()).digest())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, onto the CPU. No code in the file is run.

    Raises:
        CheckpointError: the file is missing, damaged (its SHA-256 is checked) or no such
        checkpoint.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    # The checksums inside PyTorch's archive leave its directory unprotected: one changed byte there can shift a tensor.
    payload, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    is_whole = hashlib.sha256(payload).digest() == digest
    try:
        state = torch.load(io.BytesIO(payload if is_whole else content), map_location="cpu", weights_only=True)
    except Exception as error:  # a dozen classes, from PyTorch's reader
        kind = "not a checkpoint of this program" if is_whole or _is_intact_archive(content) else "damaged checkpoint"
        raise CheckpointError(f"{path}: {kind}: {(str(error) or type(error).__name__).splitlines()[0]}") from None
    if not is_whole and isinstance(state, dict) and state.get("format") == FORMAT:
        raise CheckpointError(f"{path}: damaged checkpoint: wrong checksum")
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program: expected the format {FORMAT!r}")
    return state


def _is_intact_archive(content: bytes) -> bool:
    """Whether the bytes are some program's zip archive rather than what is left of ours."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return archive.testzip() is None
    except Exception:  # zipfile raises a dozen classes for damaged bytes
        return False


def random_states() -> dict[str, Any]:
    """Return the state of every random number generator training may draw from."""
    numpy = np.random.get_state(legacy=False)
    return {
        "python": random.getstate(),
        "numpy": {
            **numpy,
            "state": {**numpy["state"], "key": torch.from_numpy(numpy["state"]["key"].astype(np.int64))},
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Continue every random number generator from :func:`random_states`."""
    random.setstate(states["python"])
    numpy = states["numpy"]
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": numpy["state"]["key"].numpy().astype(np.uint32)}})
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file so that ``path`` holds either what it held before or the whole new content."""
    with _replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file beside ``path`` that takes its place when the block ends without an error."""
    # One name for each path: what a killed process left behind is overwritten by the next one.
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
