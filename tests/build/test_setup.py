"""What setup.py decides before a compiler runs: levels, architectures, versions, reasons."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]
KNOWN = [75, 80, 86, 87, 89, 90, 100, 120, 121]


@pytest.fixture(scope="module")
def build():
    """setup.py as a module; importing it builds nothing."""
    spec = importlib.util.spec_from_file_location("wwae_setup", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fake_nvcc(folder: Path, release: str) -> Path:
    """An executable that answers what setup.py asks nvcc."""
    path = folder / "bin" / "nvcc"
    path.parent.mkdir(parents=True)
    listing = "".join(f"echo compute_{arch}\n" for arch in KNOWN)
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "Cuda compilation tools, release {release}, V{release}.1"\n'
        f"else\n{listing}fi\n"
    )
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("machine", ["x86_64", "AMD64"])
def test_x86_gets_three_levels_each_a_superset(build, machine):
    baseline, avx2, avx512 = build.cpu_levels(machine).values()
    assert list(build.cpu_levels(machine)) == ["baseline", "avx2", "avx512"]
    assert set(baseline) < set(avx2) < set(avx512)


def test_other_machines_get_the_baseline(build):
    assert build.cpu_levels("aarch64") == {"baseline": []}


def test_default_architectures_are_the_base_list_and_the_newest(build):
    assert build.cuda_architectures(None, KNOWN) == [80, 86, 89, 90, 121]
    assert build.cuda_architectures("", [75, 80, 86]) == [80, 86]


@pytest.mark.parametrize("text", ["90,80", "80 90", "80;90", " 80, 90,80 "])
def test_requested_architectures_are_sorted_once(build, text):
    assert build.cuda_architectures(text, KNOWN) == [80, 90]


@pytest.mark.parametrize("text", ["sm_80", "8.0", "80,42", "native"])
def test_unknown_architecture_is_named(build, text):
    with pytest.raises(ValueError, match=r"WWAE_CUDA_ARCHS: expected a list of \[75, .*, got '(sm_80|8\.0|42|native)'"):
        build.cuda_architectures(text, KNOWN)


def test_ptx_for_the_last_and_for_90(build):
    flags = build.gencode_flags([80, 90, 121])
    assert [flag for flag in flags if "code=sm_" in flag] == [
        f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in (80, 90, 121)
    ]
    assert [flag.split("code=")[-1] for flag in flags if "code=compute_" in flag] == ["compute_90", "compute_121"]
    assert build.gencode_flags([80])[-1] == "-gencode=arch=compute_80,code=compute_80"


def test_nvcc_versions_are_numbers(build):
    parse = build.parse_nvcc_version
    assert parse("Cuda compilation tools, release 13.0, V13.0.88") == Version("13.0")
    assert parse("release 12.10, V12.10.1") > parse("release 12.9, V12.9.86")
    with pytest.raises(ValueError, match="nvcc --version: expected a release number"):
        parse("nvcc: command not understood")


@pytest.mark.parametrize("found, accepted", [("2.9.1", False), ("2.10.0+cpu", False), ("2.11.0", True), ("2.100.0", True)])
def test_pytorch_versions_are_compared_as_numbers(build, monkeypatch, found, accepted):
    monkeypatch.setattr(build, "installed_version", lambda name: found)
    if accepted:
        assert (build.torch_directory() / "include").is_dir()
    else:
        with pytest.raises(RuntimeError, match=rf"expected PyTorch 2\.11 or newer to build against, got {found[:4]}"):
            build.torch_directory()


def test_target_version_of_the_headers_is_the_minimum(build):
    target = int(build.TORCH_TARGET_VERSION, 16)
    assert (target >> 56, target >> 48 & 0xFF) == build.MINIMUM_TORCH.release


def test_cuda_is_left_out_with_its_reason(build, monkeypatch, tmp_path):
    monkeypatch.setenv("WWAE_BUILD_CUDA", "0")
    assert build.Cuda().left_out == "WWAE_BUILD_CUDA=0"
    monkeypatch.delenv("WWAE_BUILD_CUDA")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build.Cuda().left_out == "nvcc was not found"


def test_cuda_that_is_asked_for_must_be_possible(build, monkeypatch, tmp_path):
    monkeypatch.setenv("WWAE_BUILD_CUDA", "1")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="WWAE_BUILD_CUDA=1, but nvcc was not found"):
        build.Cuda()
    monkeypatch.setenv("WWAE_BUILD_CUDA", "yes")
    with pytest.raises(ValueError, match="WWAE_BUILD_CUDA: expected 0 or 1, got 'yes'"):
        build.Cuda()


def test_cuda_home_comes_before_path(build, monkeypatch, tmp_path):
    nvcc = fake_nvcc(tmp_path, "12.10")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("WWAE_BUILD_CUDA", raising=False)
    monkeypatch.setenv("WWAE_CUDA_ARCHS", "90,80")
    cuda = build.Cuda()
    assert (cuda.nvcc, cuda.version, cuda.archs, cuda.left_out) == (str(nvcc), Version("12.10"), [80, 90], None)


def test_old_nvcc_is_left_out(build, monkeypatch, tmp_path):
    fake_nvcc(tmp_path, "11.8")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("WWAE_BUILD_CUDA", raising=False)
    assert build.Cuda().left_out == "nvcc 11.8 is older than 12.0"


def test_summary_is_one_line_with_the_reason(build, monkeypatch, tmp_path):
    monkeypatch.setenv("WWAE_BUILD_CUDA", "0")
    assert build.summary(["baseline"], build.Cuda()) == (
        "wwae: built CPU kernels (baseline); left out CUDA kernels: WWAE_BUILD_CUDA=0"
    )
    fake_nvcc(tmp_path, "13.0")
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.delenv("WWAE_BUILD_CUDA")
    monkeypatch.setenv("WWAE_CUDA_ARCHS", "80,90")
    assert build.summary(["baseline", "avx2"], build.Cuda()) == (
        "wwae: built CPU kernels (baseline, avx2) and CUDA kernels (nvcc 13.0, sm 80, 90)"
    )


def test_stub_stands_in_for_a_missing_libtorch_cuda(build, monkeypatch, tmp_path):
    """The PyTorch at hand has no libtorch_cuda.so: the CUDA library links against an empty one of that name."""
    monkeypatch.setenv("CUDA_HOME", str(fake_nvcc(tmp_path / "cuda", "13.0").parents[1]))
    monkeypatch.delenv("WWAE_BUILD_CUDA", raising=False)
    monkeypatch.delenv("WWAE_CUDA_ARCHS", raising=False)
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    monkeypatch.setattr(build, "torch_directory", lambda: tmp_path / "torch")
    directory = tmp_path / "build"
    directory.mkdir()
    file = build.NinjaFile(directory)
    file.cuda_library(build.Cuda())
    file.write()

    stub = directory / "stub" / "libtorch_cuda.so"
    link = next(block for block in (directory / "build.ninja").read_text().split("\nbuild ") if ": nvcc_link " in block)
    assert str(stub) in link.splitlines()[0]  # linked only once the stub is there
    assert f"-L{stub.parent}" in link
    subprocess.run([sys.executable, "-m", "ninja", "-f", directory / "build.ninja", stub], cwd=ROOT, check=True)
    # The name under which the dynamic linker looks for it where PyTorch has CUDA.
    assert b"\0libtorch_cuda.so\0" in stub.read_bytes()


def test_no_stub_beside_a_real_libtorch_cuda(build, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_HOME", str(fake_nvcc(tmp_path / "cuda", "13.0").parents[1]))
    monkeypatch.delenv("WWAE_BUILD_CUDA", raising=False)
    monkeypatch.delenv("WWAE_CUDA_ARCHS", raising=False)
    (tmp_path / "torch" / "lib").mkdir(parents=True)
    (tmp_path / "torch" / "lib" / "libtorch_cuda.so").touch()
    monkeypatch.setattr(build, "torch_directory", lambda: tmp_path / "torch")
    (tmp_path / "build").mkdir()
    file = build.NinjaFile(tmp_path / "build")
    file.cuda_library(build.Cuda())
    file.write()
    assert "/stub/" not in (tmp_path / "build" / "build.ninja").read_text()
