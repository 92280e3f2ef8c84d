"""The choice of backend, what is said about it, and the memory that kernels are given."""

import os
import subprocess
import sys
import threading

import pytest
import torch

import wwae
from wwae.ops._library import OPERATIONS


def test_table_names_every_operation_and_backend():
    table = wwae.backends()
    assert list(table) == sorted(OPERATIONS)
    for row in table.values():
        assert list(row) == ["reference", "cpu", "triton", "cuda", "auto"]
        assert row["reference"] is None
        assert row["auto"]["cpu"] == "cpu"
        assert row["cpu"] is None
        for backend in ("triton", "cuda"):
            assert row[backend] is None or len(row[backend]) > 10


def test_show_backends_prints_the_table(capsys):
    wwae.show_backends()
    text = capsys.readouterr().out
    for operation in OPERATIONS:
        assert operation in text
    assert "torch " + torch.__version__ in text


def test_forced_backend_serves_backward_and_direct_calls():
    x = torch.randn(1, 2, 6, 6, requires_grad=True)
    with wwae.use_backend("reference"):
        assert wwae.backends()["switch_pool2d"]["auto"]["cpu"] == "reference"
        values, switches = wwae.ops.switch_pool2d(x, 2)
        values.sum().backward()
        direct = torch.ops.wwae.switch_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], False)
    assert wwae.backends()["switch_pool2d"]["auto"]["cpu"] == "cpu"
    again, same = wwae.ops.switch_pool2d(x, 2)
    assert torch.equal(values, again)
    assert torch.equal(direct[1], same.offsets)
    assert switches == same


def test_forced_backends_nest_and_leave_on_error():
    with pytest.raises(KeyError), wwae.use_backend("reference"):
        with wwae.use_backend("cpu"):
            assert wwae.backends()["max_pool2d"]["auto"]["cpu"] == "cpu"
        assert wwae.backends()["max_pool2d"]["auto"]["cpu"] == "reference"
        with wwae.use_backend("auto"):
            assert wwae.backends()["max_pool2d"]["auto"]["cpu"] == "cpu"
        raise KeyError
    assert wwae.backends()["max_pool2d"]["auto"]["cpu"] == "cpu"


def test_unknown_backend_suggests_the_nearest():
    with pytest.raises(ValueError, match=r"got 'trition' .did you mean 'triton'"), wwae.use_backend("trition"):
        pass


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_backend_that_cannot_run_raises():
    for backend in ("cuda", "triton"):
        with pytest.raises(RuntimeError, match=f"backend '{backend}' cannot run here: "), wwae.use_backend(backend):
            pass


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=False)


def test_environment_variable_forces_a_backend():
    code = "import torch, wwae; print(wwae.backends()['max_pool2d']['auto']); wwae.ops.max_pool2d(torch.ones(1, 1, 2, 2), 2)"
    assert run(code, WWAE_BACKEND="reference").stdout == "{'cpu': 'reference'}\n" or torch.cuda.is_available()
    refused = run(code, WWAE_BACKEND="cuda", CUDA_VISIBLE_DEVICES="")
    assert refused.returncode != 0
    assert "backend 'cuda' was forced but cannot run here" in refused.stderr
    assert "got 'cudda' (did you mean 'cuda'?)" in run(code, WWAE_BACKEND="cudda").stderr


def test_every_instruction_set_gives_the_same_bits():
    code = (
        "import hashlib, torch, wwae\n"
        "x = (torch.arange(2 * 19 * 33 * 35) * 7919 % 1009).view(2, 19, 33, 35) / 64\n"
        "for dtype in (torch.float32, torch.bfloat16, torch.float16):\n"
        "    for layout in (torch.contiguous_format, torch.channels_last):\n"
        "        y = x.to(dtype).contiguous(memory_format=layout)\n"
        "        v, s = wwae.ops.switch_pool2d(y, 3, 2, 1)\n"
        "        u = wwae.ops.switch_unpool2d(v, s, overlap='sum')\n"
        "        for t in (v, s.offsets, u):\n"
        "            print(hashlib.sha256(bytes(t.contiguous().flatten().view(torch.uint8).tolist())).hexdigest())\n"
    )
    outputs = {level: run(code, ATEN_CPU_CAPABILITY=level) for level in ("default", "avx2", "avx512")}
    assert outputs["default"].stdout.count("\n") == 18, outputs["default"].stderr
    assert len({output.stdout for output in outputs.values()}) == 1


def test_poison_reaches_memory_that_kernels_allocate():
    """The tests trust this: under deterministic mode an output that no kernel writes is NaN, in C++ too."""
    torch.use_deterministic_algorithms(True)
    try:
        x = torch.randn(1, 1, 2, 2)
        assert torch.empty_like(x).isnan().all()
        # No window points anywhere, so the kernel itself must have written the zeros.
        full = torch.ops.wwae.switch_unpool2d(
            x, torch.full((1, 1, 2, 2), 9, dtype=torch.uint8), [2, 2], [2, 2], [0, 0], [1, 1], [4, 4], "last"
        )
        assert torch.equal(full, torch.zeros(1, 1, 4, 4))
    finally:
        torch.use_deterministic_algorithms(False)


def test_threads_do_not_change_the_result():
    x = torch.randn(3, 33, 57, 43)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            values, switches = wwae.ops.switch_pool2d(x, 3, 2, 1)
            results.append((values, switches.offsets, wwae.ops.switch_unpool2d(values, switches, overlap="mean")))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_blocks_of_two_threads_leave_no_choice_behind():
    entered, left = threading.Event(), threading.Event()

    def outer():
        with wwae.use_backend("reference"):
            entered.set()
            left.wait()

    thread = threading.Thread(target=outer)
    before = wwae.backends()["switch_pool2d"]["auto"]
    thread.start()
    entered.wait()
    with wwae.use_backend("cpu"):
        left.set()
        thread.join()
        assert wwae.backends()["switch_pool2d"]["auto"]["cpu"] == "cpu"
    assert wwae.backends()["switch_pool2d"]["auto"] == before
