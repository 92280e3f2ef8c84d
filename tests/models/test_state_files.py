import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from wwae.models.state_files import WeightsError, read_state_dict

STATE = {
    "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "a.bias": torch.tensor([0.5, -1.0], dtype=torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.empty(0, 4),
}


def check(read: dict[str, torch.Tensor]) -> None:
    assert read.keys() == STATE.keys()
    for name, value in STATE.items():
        assert read[name].dtype == value.dtype and torch.equal(read[name], value)


def test_both_kinds_of_file_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save(STATE))
    torch.save(STATE, tmp_path / "a.pth")
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in STATE.items()}}, tmp_path / "b.pt")
    for name in ("a.safetensors", "a.pth", "b.pt"):
        check(read_state_dict(tmp_path / name))


@pytest.mark.parametrize(("name", "content", "message"), [
    ("a.safetensors", b"abc", "damaged, or not a file of safetensors: "),
    ("a.safetensors", save(STATE)[:-1], "damaged, or not a file of safetensors: "),
    ("a.safetensors", b"\x04" + bytes(7) + b"{{{{", "damaged, or not a file of safetensors: "),
    ("a.safetensors", save(STATE).replace(b'"BF16"', b'"F8_X"'), "damaged, or not a file of safetensors: "),
    ("a.pth", b"no archive", "damaged, or not what torch.save(model.state_dict(), file) writes: names and tensors, no whole model"),
])  # fmt: skip
def test_damaged_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError, match=f"^{re.escape(str(tmp_path / name))}: {re.escape(message)}"):
        read_state_dict(tmp_path / name)


def test_a_file_that_is_missing_or_holds_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pth: cannot be read: No such file"):
        read_state_dict(tmp_path / "none.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"list\.pth: not a state dict: expected names and tensors, got list"):
        read_state_dict(tmp_path / "list.pth")
