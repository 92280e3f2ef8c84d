"""The wheel: what is in it, and that it works away from the source tree."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command, cwd, **environment) -> str:
    finished = subprocess.run(
        [str(word) for word in command], cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of this tree; the objects of the last build are reused."""
    target = tmp_path_factory.mktemp("wheel")
    run(
        sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", target, ROOT,
        cwd=target,
    )  # fmt: skip
    (path,) = target.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel,
        cwd=target,
    )  # fmt: skip
    return target


def test_wheel_holds_every_module_and_library(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"wwae/{path.relative_to(ROOT / 'wwae')}" for path in (ROOT / "wwae").rglob("*.py")}
    kernels = {f"wwae/triton_kernels/{path.name}" for path in (ROOT / "triton_kernels").glob("*.py")}
    assert (modules | kernels) - names == set()
    levels = {Path(name).name for name in names if name.startswith("wwae/_lib/libwwae_cpu_")}
    assert "libwwae_cpu_baseline.so" in levels
    for module in ("_C", "_autograd"):
        assert any(name.startswith(f"wwae/{module}.") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "csrc/", "triton_kernels/", "build/"))]


def test_nothing_names_a_place_on_this_machine(wheel):
    archive = zipfile.ZipFile(wheel)
    for place in (str(ROOT), sys.prefix):
        assert not [name for name in archive.namelist() if place.encode() in archive.read(name)], place


def test_libraries_load_by_their_level(installed):
    """Every level runs, in the process PyTorch chose it for; the widest only where the processor has it."""
    program = (
        "import torch, wwae\n"
        "from wwae import _extension\n"
        "library = _extension.cpu_library()\n"
        "library.require()\n"
        "values, switches = wwae.ops.switch_pool2d(torch.arange(64.0).view(1, 1, 8, 8), 2)\n"
        "assert values.flatten().tolist()[:2] == [9.0, 11.0] and switches.offsets.eq(3).all()\n"
        "print(wwae.__file__, torch.backends.cpu.get_cpu_capability(), library.level)\n"
    )
    expected = {"DEFAULT": "baseline", "AVX2": "avx2", "AVX512": "avx512"}
    for capability in ("default", "avx2", "avx512"):
        where, found, level = run(
            sys.executable, "-c", program, cwd=installed.parent, PYTHONPATH=str(installed), ATEN_CPU_CAPABILITY=capability
        ).split()
        assert Path(where).is_relative_to(installed)
        assert level == expected.get(found, "baseline")


def test_triton_kernels_are_part_of_the_package(installed):
    program = "import wwae.triton_kernels as kernels; print(kernels.__file__)"
    where = run(sys.executable, "-c", program, cwd=installed.parent, PYTHONPATH=str(installed)).strip()
    assert Path(where) == installed / "wwae" / "triton_kernels" / "__init__.py"


def test_command_runs(installed):
    assert "train" in run(installed / "bin" / "wwae", "--help", cwd=installed.parent, PYTHONPATH=str(installed))


def test_source_archive_can_be_built_from(tmp_path):
    program = "import sys; from setuptools import build_meta; print(build_meta.build_sdist(sys.argv[1]))"
    name = run(sys.executable, "-c", program, tmp_path, cwd=ROOT).splitlines()[-1]
    with tarfile.open(tmp_path / name) as archive:
        names = {member.split("/", 1)[-1] for member in archive.getnames()}
    sources = {str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*") if path.is_file()}
    kernels = {str(path.relative_to(ROOT)) for path in (ROOT / "triton_kernels").glob("*.py")}
    assert (sources | kernels | {"setup.py", "pyproject.toml", "LICENSE"}) - names == set()
    assert not [name for name in names if name.endswith((".so", ".o"))]
