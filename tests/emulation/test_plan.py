"""The launches that the host functions choose, for maps of any size, and the committed record of them."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from emulation.build import missing
from emulation.machine_code import readable, unreadable
from emulation.plan import planned_launches

pytestmark = pytest.mark.skipif(missing() is not None, reason=f"the kernels cannot be built: {missing()}")

DOCS = Path(__file__).resolve().parents[2] / "docs"
TWO = ((2, 2), (2, 2), (0, 0), (1, 1))
THREE = ((3, 3), (2, 2), (0, 0), (1, 1))


def on_meta(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta", memory_format=torch.channels_last)


@pytest.mark.parametrize(("window", "tiles"), [(TWO, 3 * 2), (THREE, 3 * 3)], ids=["8 x 8 windows", "7 x 7 windows"])
@pytest.mark.parametrize(("channels", "instance"), [(24, "<__nv_bfloat16, true>"), (23, "<__nv_bfloat16, false>")])
def test_a_pooled_convolution_is_cut_into_tiles(library: Path, window: tuple, tiles: int, channels: int, instance: str):
    """A map of 34 x 32 has 17 x 16 windows or 16 x 15, and 80 channels of the result are two blocks of 64."""
    x, weight = on_meta(2, channels, 34, 32), on_meta(80, channels, 3, 3)
    call = (x, weight, None, *window, False, (1, 1), (1, 1), (1, 1), 1)
    (launch,) = planned_launches(library, lambda kernels: kernels.conv_relu_pool2d(*call))
    assert readable([launch.kernel])[0].startswith(f"void wwae::conv_relu_pool2d_kernel{instance}(")
    assert launch[1:] == (2 * tiles * 2, 256, 49664)


@pytest.mark.parametrize(
    ("window", "channels", "kind"), [(TWO, 24, 0), (THREE, 24, 1), (TWO, 23, 2)], ids=["pairs", "any", "ragged"]
)
def test_an_unpooled_map_is_read_as_its_windows_allow(library: Path, window: tuple, channels: int, kind: int):
    pooled, offsets = on_meta(2, channels, 16, 16), on_meta(2, channels, 16, 16, dtype=torch.uint8)
    call = (pooled, offsets, on_meta(64, channels, 3, 3), None, *window, (33, 33), (1, 1), False)
    (launch,) = planned_launches(library, lambda kernels: kernels.unpool_conv2d(*call))
    assert f"unpool_conv2d_kernel<__nv_bfloat16, (wwae::Unpooling){kind}>" in readable([launch.kernel])[0]
    assert launch[1:] == (2 * 3 * 3, 256, 49664)


def test_what_is_planned_does_not_run_and_what_follows_does(library: Path):
    """Terabytes on the meta device; afterwards a map of a few bytes is pooled as ever."""
    from emulation.emulated import EmulatedKernels

    x = on_meta(1000, 64, 4096, 4096)
    (launch,) = planned_launches(library, lambda kernels: kernels.switch_pool2d(x, *TWO, False))
    assert launch.blocks > 10**8
    values, _ = EmulatedKernels(library).switch_pool2d(torch.arange(16.0).view(1, 1, 4, 4), *TWO, False)
    assert values.flatten().tolist() == [5, 7, 13, 15]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("read_cuda_convolutions")


@pytest.fixture
def record():
    return json.loads((DOCS / "cuda-convolutions.json").read_text(encoding="utf-8"))


def test_the_documented_launches_are_those_of_the_host_functions(library: Path, script, record):
    assert record["launches"] == script.plans(library), "run `make docs`"


def test_the_documented_machine_code_is_that_of_the_library(script, record):
    if reason := unreadable():
        pytest.skip(reason)
    if (built := script.build_info()["cuda"]) != record["nvcc"]:
        pytest.skip(f"nvcc {built} built the library, and nvcc {record['nvcc']} the one of the record")
    kernels = script.compiled({launch["symbol"] for launch in record["launches"]})
    built_for = {kernel["capability"] for kernel in kernels}
    assert built_for
    assert [kernel for kernel in record["kernels"] if kernel["capability"] in built_for] == kernels, "run `make docs`"


def test_the_documented_kernels_multiply_on_tensor_cores_and_spill_nothing(record):
    assert not any(kernel["spilled_bytes"] for kernel in record["kernels"])
    for kernel in record["kernels"]:
        multiplies = {"HMMA.16816", "LDGSTS.E.128"} <= set(kernel["instructions"])
        assert multiplies != kernel["kernel"].startswith("unpool_conv2d_weight_backward_join")
