"""State dicts in files: PyTorch's own, and safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["WeightsError", "read_state_dict"]


class WeightsError(ValueError):
    """Weights that are missing, damaged or not those of the network; the message names the file or the keys."""


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read a state dict onto the CPU; no code in the file is run.

    A checkpoint that holds its weights under ``state_dict`` or ``model``, and keys that begin with ``module.``, are seen through.

    Args:
        path (Path | str): ``.safetensors``, or what ``torch.save`` wrote.

    Raises:
        WeightsError: the file cannot be read, is damaged, or holds no state dict.
    """
    path = Path(path)
    try:
        state = _read(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a dozen classes, from the readers
        raise WeightsError(f"{path}: not a state dict: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not a state dict: expected names and tensors, got {type(state).__name__}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _read(path: Path) -> Any:
    if path.suffix != ".safetensors":
        return torch.load(path, map_location="cpu", weights_only=True)
    from safetensors.torch import load_file  # a dependency of those who train

    return load_file(path)
