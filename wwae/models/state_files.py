"""State dicts in files: PyTorch's own, and safetensors.

A safetensors file is the length of its header (64 bits, little-endian), the header (JSON: for each tensor its dtype, shape and
place), and the values in row-major order: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["WeightsError", "read_state_dict"]

_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


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
        state = _safetensors(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a dozen classes, from PyTorch's reader
        raise WeightsError(f"{path}: not a state dict: {(str(error) or type(error).__name__).splitlines()[0]}") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not a state dict: expected names and tensors, got {type(state).__name__}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or end > len(content):
        raise WeightsError(f"{path}: truncated, or no safetensors file: {len(content)} bytes, its header would end at {end}")
    try:
        header = json.loads(content[8:end])
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _tensor(path, name, entry, content, end) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"{path}: damaged safetensors header: {type(error).__name__}: {error}") from error


def _tensor(path: Path, name: str, entry: dict, content: bytes, start: int) -> Tensor:
    if entry["dtype"] not in _DTYPES:
        raise WeightsError(f"{path}: {name} has dtype {entry['dtype']}, expected one of {', '.join(_DTYPES)}")
    dtype, shape, (first, last) = _DTYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    size = math.prod(shape) * dtype.itemsize
    if not 0 <= first <= last <= len(content) - start or last - first != size:
        raise WeightsError(
            f"{path}: damaged or truncated: {name} of shape {shape} needs {size} bytes, the file has "
            f"{first} to {last} of {len(content) - start} for it"
        )
    if size == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(content[start + first : start + last]), dtype=dtype).reshape(shape)
