"""Checkpoints: whole or not there, checked byte for byte, and no code in them."""

import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wwae.training.checkpoints import (
    CheckpointError,
    load_checkpoint,
    random_states,
    restore_random_states,
    save_checkpoint,
    write_atomically,
)

STATE = {"step": 3, "weights": torch.arange(500.0), "nested": {"values": (1, [2.5, None], "text")}}


def test_round_trip(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    state = load_checkpoint(path)
    assert torch.equal(state["weights"], STATE["weights"])
    assert (state["step"], state["nested"]) == (STATE["step"], STATE["nested"])
    assert os.listdir(tmp_path) == ["a.pt"]


class Unpicklable:
    def __reduce__(self):
        raise RuntimeError("stop in the middle of the file")


def test_an_interrupted_write_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    with pytest.raises(RuntimeError, match="stop in the middle"):
        save_checkpoint(path, {"weights": torch.zeros(9), "bad": Unpicklable()})
    assert os.listdir(tmp_path) == ["a.pt"]
    assert load_checkpoint(path)["step"] == 3


def test_what_a_killed_process_left_behind_is_overwritten(tmp_path):
    path = tmp_path / "a.pt"
    (tmp_path / ".a.pt.unfinished").write_bytes(b"half")
    save_checkpoint(path, STATE)
    assert os.listdir(tmp_path) == ["a.pt"]
    assert load_checkpoint(path)["step"] == 3


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.data())
def test_a_truncated_file_is_refused(tmp_path, data):
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(CheckpointError, match=r"a\.pt: damaged checkpoint: "):
        load_checkpoint(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.data())
def test_a_changed_weight_is_refused(tmp_path, data):
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    content = bytearray(path.read_bytes())
    start = content.index(STATE["weights"].numpy().tobytes())
    content[start + data.draw(st.integers(0, 1999))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt: damaged checkpoint: "):
        load_checkpoint(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(st.data())
def test_a_changed_byte_is_refused_or_makes_no_difference(tmp_path, data):
    path = tmp_path / "a.pt"
    save_checkpoint(path, STATE)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        state = load_checkpoint(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert torch.equal(state["weights"], STATE["weights"])
        assert (state["step"], state["nested"]) == (STATE["step"], STATE["nested"])


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    with pytest.raises(CheckpointError, match=r"a\.pt: no such checkpoint"):
        load_checkpoint(path)
    path.write_bytes(b"not a zip archive")
    with pytest.raises(CheckpointError, match=r"a\.pt: damaged checkpoint: "):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"a\.pt: not a checkpoint of this program: "):
        load_checkpoint(path)
    torch.save({"step": 3}, path)
    with pytest.raises(CheckpointError, match=r"a\.pt: not a checkpoint of this program: expected the format"):
        load_checkpoint(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"a\.pt: cannot be read: "):
        load_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (pickle.loads, (b"",))


def test_code_in_a_file_is_not_run(tmp_path):
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"step": Evil()})
    with pytest.raises(CheckpointError, match="not a checkpoint of this program"):
        load_checkpoint(path)


def test_random_states_continue(tmp_path):
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(3)
    np.random.randn()
    save_checkpoint(tmp_path / "a.pt", {"random": random_states()})

    def draw():
        return random.random(), np.random.randn(3).tolist(), torch.rand(3).tolist()

    expected = draw()
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(4)
    assert draw() != expected
    restore_random_states(load_checkpoint(tmp_path / "a.pt")["random"])
    assert draw() == expected


def test_write_atomically(tmp_path):
    write_atomically(tmp_path / "a.txt", "süß")
    write_atomically(tmp_path / "b.bin", b"\x00\x01")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "süß"
    assert (tmp_path / "b.bin").read_bytes() == b"\x00\x01"
