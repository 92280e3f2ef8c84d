"""State dicts in files: PyTorch's own, safetensors, and the weights in a file of Caffe."""

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
        path (Path | str): ``.safetensors``, ``.caffemodel`` (see :mod:`wwae.models.caffe_file`), or what ``torch.save`` wrote.

    Raises:
        WeightsError: the file cannot be read, is damaged, or holds no state dict, or the package that reads it is missing.
    """
    path = Path(path)
    try:
        state = _read(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ModuleNotFoundError as error:
        extra = "caffe" if path.suffix == ".caffemodel" else "train"
        raise WeightsError(f"{path}: cannot be read: {error}: pip install 'wwae[{extra}]' brings it") from error
    except Exception as error:  # a dozen classes, from the readers
        raise WeightsError(f"{path}: damaged, or not {_EXPECTED.get(path.suffix, _BY_PYTORCH)}{_reason(error, path)}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not a state dict: expected names and tensors, got {type(state).__name__}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


_BY_PYTORCH = "what torch.save(model.state_dict(), file) writes: names and tensors, no whole model"
_EXPECTED = {".caffemodel": "a network of Caffe", ".safetensors": "a file of safetensors"}


def _reason(error: Exception, path: Path) -> str:
    """What a reader complains of in one line; PyTorch's readers give advice for programs, which says nothing here."""
    return f": {(str(error) or type(error).__name__).splitlines()[0]}" if path.suffix in _EXPECTED else ""


def _read(path: Path) -> Any:
    if path.suffix == ".caffemodel":
        from wwae.models.caffe_file import read_caffemodel  # needs a package that few have

        return read_caffemodel(path)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file  # a dependency of those who train

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
