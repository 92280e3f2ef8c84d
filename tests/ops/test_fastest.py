"""The choice by measurement: what it takes, what it remembers, and when it leaves the stopwatch alone."""

import json
import logging
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import wwae
from wwae.ops import _choices, backends
from wwae.ops._choices import Choice, Choices, cache_directory
from wwae.ops._fastest import fastest, gpu_may_measure

X = torch.zeros(2, 3, 4, 4)


class Machine:
    """Implementations that return their own name and take a given time, and a stopwatch that counts its uses."""

    def __init__(self, directory: Path, **times: float | Exception):
        self.times, self.directory, self.measured, self.may = times, directory, 0, True
        self.choices = Choices(directory, {"gpu": "none"})
        self.run = fastest(
            "operation",
            {name: lambda *_arguments, name=name: self.implementation(name) for name in times},
            lambda _device: self.choices,
            self.seconds,
            lambda: self.may,
            lambda x: x.dtype != torch.float64,
        )

    def implementation(self, name: str) -> str:
        time = self.times[name]
        if isinstance(time, Exception):
            raise time
        return name

    def seconds(self, run) -> float:
        self.measured += 1
        return self.times[run()] / 1e6


@pytest.fixture(autouse=True)
def each_warning_once_a_test(monkeypatch):
    monkeypatch.setattr(_choices, "_warned", set())


def test_the_fastest_is_measured_once_and_remembered_by_the_next_process(tmp_path, caplog):
    caplog.set_level(logging.INFO, "wwae")
    machine = Machine(tmp_path, composition=50, triton=30, cuda=40)
    assert [machine.run(X, (2, 2)) for _ in range(3)] == ["triton"] * 3
    assert machine.measured == 3  # one of each
    assert "operation((2, 3, 4, 4), torch.float32" in caplog.text.replace("operation(((", "operation((")
    assert "triton: triton 30.0 us, cuda 40.0 us, composition 50.0 us" in caplog.text
    later = Machine(tmp_path, composition=1, triton=2, cuda=3)
    assert later.run(X, (2, 2)) == "triton"
    assert later.measured == 0


@pytest.mark.parametrize("time", [50, 49.5, 60], ids=str)
def test_the_composition_runs_unless_another_is_clearly_faster(tmp_path, time):
    assert Machine(tmp_path, composition=50, triton=time).run(X) == "composition"


def test_a_kernel_that_refuses_or_fails_is_out_and_says_why(tmp_path):
    refusal = RuntimeError("operation: the CUDA kernel takes groups=1, got 2\nmore")
    machine = Machine(tmp_path, composition=50, cuda=refusal, triton=KeyError("sm_75"))
    assert machine.run(X) == "composition"
    ((_, choice),) = machine.choices
    assert choice.refusals == {"cuda": "operation: the CUDA kernel takes groups=1, got 2", "triton": "'sm_75'"}
    assert "no cuda (operation: the CUDA kernel takes groups=1, got 2)" in str(choice)


def test_an_error_of_the_composition_is_the_users(tmp_path):
    machine = Machine(tmp_path, composition=RuntimeError("weight has another dtype"), triton=1)
    with pytest.raises(RuntimeError, match="weight has another dtype"):
        machine.run(X)
    assert list(machine.choices) == []


def test_shape_dtype_layout_and_constants_are_measured_apart(tmp_path):
    machine = Machine(tmp_path, composition=50, triton=30)
    channels_last = X.contiguous(memory_format=torch.channels_last)
    calls = [(X, 1), (X[:1], 1), (X.half(), 1), (channels_last, 1), (X, 2), (X, None), (X, [1, 2])]
    for number, call in enumerate(calls, 1):
        for _ in range(2):
            machine.run(*call)
        assert machine.measured == 2 * number
    assert len(list(machine.choices)) == len(calls)


def test_where_nothing_may_be_measured_the_remembered_choice_runs_else_the_composition(tmp_path):
    machine = Machine(tmp_path, composition=50, triton=30)
    machine.may = False
    assert machine.run(X) == "composition"
    assert machine.measured == 0
    machine.may = True
    assert machine.run(X) == "triton"
    machine.may = False
    assert machine.run(X) == "triton"
    assert machine.run(X[:1]) == "composition"


def test_another_precision_is_no_choice(tmp_path):
    machine = Machine(tmp_path, composition=50, triton=30)
    assert machine.run(X.double()) == "composition"
    assert machine.measured == 0


def test_a_remembered_implementation_that_is_gone_is_measured_again(tmp_path):
    assert Machine(tmp_path, composition=50, triton=40, cuda=30).run(X) == "cuda"
    without = Machine(tmp_path, composition=50, triton=40)
    assert without.run(X) == "triton"
    assert without.measured == 2


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "\x00\xff",
        '{"choices": []}',
        '{"choices": {"call": {"implementation": "cuda"}}}',
        '{"choices": {"call": {"implementation": "cuda", "microseconds": {}, "refusals": {}}}}',
        '{"choices": {"call": {"implementation": "cuda", "microseconds": {"cuda": "fast"}, "refusals": {}}}}',
    ],
)
def test_a_damaged_file_is_ignored_with_one_warning_and_replaced(tmp_path, caplog, content):
    path = Machine(tmp_path, composition=1).choices.path
    path.write_bytes(content.encode("latin-1"))
    machine = Machine(tmp_path, composition=50, triton=30)
    assert machine.run(X) == "triton"
    assert machine.run(X[:1]) == "triton"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"{path} is ignored" in caplog.text
    assert len(json.loads(path.read_text())["choices"]) == 2


def test_a_directory_that_cannot_be_written_costs_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    machine = Machine(tmp_path / "file" / "cache", composition=50, triton=30)
    assert [machine.run(X), machine.run(X[:1])] == ["triton"] * 2
    assert len(caplog.records) == 1
    assert machine.measured == 4


def test_processes_add_to_one_file_and_leave_no_other(tmp_path):
    one, other = (Choices(tmp_path, {"gpu": "a"}) for _ in range(2))
    one.remember("x", Choice("triton", {"triton": 1.0}))
    other.remember("y", Choice("composition", {"composition": 2.0}, {"cuda": "not built"}))
    assert dict(Choices(tmp_path, {"gpu": "a"})) == {
        "x": Choice("triton", {"triton": 1.0}),
        "y": Choice("composition", {"composition": 2.0}, {"cuda": "not built"}),
    }
    assert list(Choices(tmp_path, {"gpu": "b"})) == []
    assert list(tmp_path.iterdir()) == [one.path]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    choices = Choices(tmp_path, {})
    choices.remember("x", Choice("triton", {"triton": 1.0}))
    monkeypatch.setattr(_choices.json, "dump", lambda *_, **_options: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        choices.remember("y", Choice("triton", {"triton": 1.0}))
    assert [name for name, _ in Choices(tmp_path, {})] == ["x"]
    assert list(tmp_path.iterdir()) == [choices.path]


def test_the_directory_is_the_platforms_unless_given(monkeypatch, tmp_path):
    monkeypatch.setenv("WWAE_CACHE_DIR", str(tmp_path))
    assert cache_directory() == tmp_path
    monkeypatch.delenv("WWAE_CACHE_DIR")
    monkeypatch.setattr(_choices.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_directory() == tmp_path / "xdg" / "wwae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache" / "wwae"
    monkeypatch.setattr(_choices.sys, "platform", "darwin")
    assert cache_directory() == Path.home() / "Library" / "Caches" / "wwae"
    monkeypatch.setattr(_choices.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert cache_directory() == tmp_path / "wwae" / "Cache"


def test_nothing_is_measured_under_capture_compilation_and_deterministic_algorithms(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert gpu_may_measure()
    torch.use_deterministic_algorithms(True)
    try:
        assert not gpu_may_measure()
    finally:
        torch.use_deterministic_algorithms(False)
    for function in (torch.compiler, "is_compiling"), (torch.cuda, "is_current_stream_capturing"):
        with monkeypatch.context() as patch:
            patch.setattr(*function, lambda: True)
            assert not gpu_may_measure()


def test_fake_tensors_never_reach_the_choice(monkeypatch):
    def refuse(*_arguments):
        raise AssertionError("a fake tensor was measured")

    with torch.library._scoped_library("wwae", "IMPL") as library:
        library.impl("conv_relu_pool2d", refuse, "CUDA", allow_override=True)
        with FakeTensorMode():
            x, weight = torch.empty(2, 3, 8, 8, device="cuda"), torch.empty(4, 3, 3, 3, device="cuda")
            values, switches = wwae.ops.conv_relu_pool2d(x, weight, None, 2)
    assert values.shape == switches.shape == (2, 4, 3, 3)


def test_show_backends_prints_what_was_chosen_and_why(monkeypatch, capsys, tmp_path):
    choices = Choices(tmp_path, {"gpu": "A Fast One"})
    choices.remember("conv_relu_pool2d((1, 2))", Choice("composition", {"composition": 3.0, "triton": 4.25}, {"cuda": "float64"}))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(backends, "gpu_choices", lambda _device: choices)
    wwae.show_backends()
    text = capsys.readouterr().out
    assert f"Measured on A Fast One ({choices.path}):" in text
    assert "  conv_relu_pool2d((1, 2))\n    composition: composition 3.0 us, triton 4.2 us, no cuda (float64)\n" in text


def test_a_library_kernel_runs_behind_what_was_put_in_its_place():
    kernel = backends._kept("switch_pool2d", "CPU")
    seen = []
    x = torch.randn(1, 2, 6, 6)
    expected = wwae.ops.switch_pool2d(x, 2)
    with torch.library._scoped_library("wwae", "IMPL") as library:
        library.impl("switch_pool2d", lambda *a: (seen.append(len(a)), kernel(*a))[1], "CPU", allow_override=True)
        values, switches = wwae.ops.switch_pool2d(x, 2)
    assert seen == [6]
    assert torch.equal(values, expected[0])
    assert switches == expected[1]


def test_the_choice_on_a_gpu_has_the_composition_and_every_kernel(monkeypatch):
    seen = {}
    monkeypatch.setattr(backends, "fastest", lambda operation, implementations, *_: seen.update({operation: list(implementations)}))
    monkeypatch.setattr(backends, "_unavailable", lambda *_: None)
    for operation in backends.COMPOSITIONS:
        backends._measured(operation)
    both = ["composition", "cuda", "triton"]
    assert seen == {
        "conv_relu_pool2d": both,
        "conv_relu_pool2d_backward": ["composition", "fused"],
        "unpool_conv2d": both,
        "unpool_conv2d_weight_backward": both,
    }
