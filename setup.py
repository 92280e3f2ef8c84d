"""Builds the compiled parts of wwae; metadata and dependencies stand in pyproject.toml.

What is built, into `wwae/`:

- `_lib/libwwae_cpu_<level>.so`: csrc/cpu, once per instruction-set level; `wwae/_extension.py` loads the one that fits.
- `_lib/libwwae_cuda.so`: csrc/cuda, when nvcc is found. No GPU and no CUDA build of PyTorch is needed for it.
- `_C`: build information, a pybind11 module.
- `_autograd`: csrc/autograd, calls of pooling in eager mode and their derivatives.

The kernel libraries use PyTorch's stable ABI, so they are not tied to the PyTorch they were built against; `_autograd`
is, and with another one its work is done in Python. Everything is compiled by ninja from one generated file,
`build/ninja-<python>/build.ninja`, with dependencies tracked per header.

Environment:

- `WWAE_BUILD_CUDA`: 0 leaves the CUDA library out, 1 makes a missing nvcc an error. Default: build it if nvcc is found.
- `WWAE_CUDA_ARCHS`: compute capabilities, such as `80,90`. Default: see `cuda_architectures`.
- `CXX`: the C++ compiler. `CUDA_HOME`: where nvcc is looked for before PATH.
- `MAX_JOBS`: how many compilers run at once. Default: ninja's own choice, about one per core.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import version as installed_version
from importlib.util import find_spec
from pathlib import Path

import ninja
import pybind11
from ninja import ninja_syntax
from packaging.version import Version
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent

# The oldest PyTorch whose stable ABI the libraries need, and the same version as the headers want it: 2.11.
MINIMUM_TORCH = Version("2.11")
TORCH_TARGET_VERSION = "0x020b000000000000"

MINIMUM_NVCC = Version("12.0")  # the first nvcc that knows C++20
BASE_CUDA_ARCHS = [80, 86, 89, 90]

# Instruction sets by level. `wwae/_extension.py` maps PyTorch's CPU capability to a level.
_AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mbmi2"]
_AVX512 = [*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
X86_LEVELS = {"baseline": [], "avx2": _AVX2, "avx512": _AVX512}

# -ffp-contract=off: a fused multiply-add would round once where the definition rounds twice.
# -fno-trapping-math: floating-point flags are not observed, which lets comparisons become vector masks.
COMMON_FLAGS = ["-std=c++20", "-O3", "-DNDEBUG"]
STABLE_ABI = f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}"
HOST_FLAGS = ["-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Wno-unknown-pragmas"]
CPU_FLAGS = ["-fopenmp-simd", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]


def cpu_levels(machine: str) -> dict[str, list[str]]:
    """Levels to build for a machine type (as `platform.machine()` names it), with their compiler flags."""
    return X86_LEVELS if machine.lower() in ("x86_64", "amd64") else {"baseline": []}


def cuda_architectures(requested: str | None, known: list[int]) -> list[int]:
    """Compute capabilities to build for, ascending.

    `requested` is the value of WWAE_CUDA_ARCHS (`"80,90"`); without it the base list and the newest one that nvcc
    knows are taken. Raises ValueError for a word that is no capability and for one that nvcc does not know.
    """
    if not requested:
        return sorted({*(arch for arch in BASE_CUDA_ARCHS if arch in known), max(known)})
    words = re.split(r"[,;\s]+", requested.strip())
    for word in words:
        if not word.isdecimal() or int(word) not in known:
            raise ValueError(f"WWAE_CUDA_ARCHS: expected a list of {sorted(known)}, got {word!r} in {requested!r}")
    return sorted({int(word) for word in words})


def gencode_flags(archs: list[int]) -> list[str]:
    """Machine code for every architecture; PTX for the last, and for 90 to serve the GPUs between 90 and the last."""
    flags = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    with_ptx = [arch for arch in archs if arch in (90, archs[-1])]
    return flags + [f"-gencode=arch=compute_{arch},code=compute_{arch}" for arch in with_ptx]


def parse_nvcc_version(text: str) -> Version:
    """The release in the output of `nvcc --version`."""
    match = re.search(r"release (\d+\.\d+)", text)
    if match is None:
        raise ValueError(f"nvcc --version: expected a release number, got {text!r}")
    return Version(match.group(1))


def find_nvcc() -> str | None:
    home = os.environ.get("CUDA_HOME")
    if home and (Path(home) / "bin" / "nvcc").exists():
        return str(Path(home) / "bin" / "nvcc")
    return shutil.which("nvcc")


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Cuda:
    """How the CUDA library is built: `nvcc`, `version`, `archs`; or `left_out`, the reason why it is not."""

    def __init__(self) -> None:
        self.nvcc: str | None = None
        self.version: Version | None = None
        self.archs: list[int] = []
        self.left_out = self._find()

    def _find(self) -> str | None:
        switch = os.environ.get("WWAE_BUILD_CUDA", "")
        if switch not in ("", "0", "1"):
            raise ValueError(f"WWAE_BUILD_CUDA: expected 0 or 1, got {switch!r}")
        if switch == "0":
            return "WWAE_BUILD_CUDA=0"
        if not list((ROOT / "csrc" / "cuda").glob("*.cu")):
            return "csrc/cuda holds no .cu file"
        nvcc = find_nvcc()
        reason = "nvcc was not found" if nvcc is None else None
        if nvcc is not None:
            self.version = parse_nvcc_version(output_of(nvcc, "--version"))
            if self.version < MINIMUM_NVCC:
                reason = f"nvcc {self.version} is older than {MINIMUM_NVCC}"
        if reason is not None:
            if switch == "1":
                raise RuntimeError(f"WWAE_BUILD_CUDA=1, but {reason}")
            return reason
        assert nvcc is not None
        known = [int(word) for word in re.findall(r"compute_(\d+)\b", output_of(nvcc, "--list-gpu-arch"))]
        self.nvcc = nvcc
        self.archs = cuda_architectures(os.environ.get("WWAE_CUDA_ARCHS"), known)
        return None


def summary(levels: list[str], cuda: Cuda) -> str:
    """One line: what was built, what was left out and why."""
    built = f"wwae: built CPU kernels ({', '.join(levels)})"
    if cuda.left_out is not None:
        return f"{built}; left out CUDA kernels: {cuda.left_out}"
    return f"{built} and CUDA kernels (nvcc {cuda.version}, sm {', '.join(map(str, cuda.archs))})"


class NinjaFile:
    """Writes build.ninja. Sources are named relative to ROOT, where ninja runs; outputs lie in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.torch = torch_directory()
        # Messages of PyTorch's headers name their file; in a wheel that must not be a place of the building machine.
        self.prefix_map = f"-ffile-prefix-map={self.torch}=torch"
        self.cxx = os.environ.get("CXX") or (sysconfig.get_config_var("CXX") or "c++").split()[0]
        self.outputs: list[Path] = []  # what is installed, relative to `directory`
        self.file = (directory / "build.ninja.new").open("w")
        self.ninja = ninja_syntax.Writer(self.file, width=10_000)
        self.ninja.variable("builddir", str(directory))
        self.rule("cxx", f"{self.cxx} $flags -MD -MF $out.d -c $in -o $out", depfile=True)
        self.rule("link", f"{self.cxx} -shared $in -o $out $flags")

    def rule(self, name: str, command: str, depfile: bool = False) -> None:
        dependencies = {"depfile": "$out.d", "deps": "gcc"} if depfile else {}
        self.ninja.rule(name, command, description=f"{name} $out", **dependencies)

    def build(self, output: Path, rule: str, inputs: list[Path], flags: list[str], implicit: list[Path] = ()) -> Path:
        self.ninja.build(
            str(output), rule, [str(path) for path in inputs], [str(path) for path in implicit],
            variables={"flags": shlex.join(flags)},
        )  # fmt: skip
        return output

    def objects(self, rule: str, sources: list[Path], group: str, flags: list[str]) -> list[Path]:
        return [self.build(self.directory / group / f"{path.stem}.o", rule, [path], flags) for path in sources]

    def cpu_library(self, level: str, level_flags: list[str]) -> None:
        includes = ["-Icsrc", "-isystem", str(self.torch / "include")]
        flags = [*COMMON_FLAGS, STABLE_ABI, *HOST_FLAGS, *CPU_FLAGS, *level_flags, self.prefix_map, *includes]
        objects = self.objects("cxx", sources("csrc/cpu", "*.cpp"), f"cpu_{level}", flags)
        link = [f"-L{self.torch / 'lib'}", "-Wl,--no-as-needed", "-ltorch_cpu", "-lc10", "-Wl,--no-undefined"]
        self.install("link", f"_lib/libwwae_cpu_{level}.so", objects, link)

    def cuda_library(self, cuda: Cuda) -> None:
        assert cuda.nvcc is not None
        host_flags = ",".join(["-fPIC", "-fvisibility=hidden", "-Wno-unknown-pragmas", self.prefix_map])
        includes = ["-Icsrc", "-isystem", str(self.torch / "include")]
        flags = [
            *COMMON_FLAGS, STABLE_ABI, "-DUSE_CUDA", f"-Xcompiler={host_flags}", "--threads=2",
            *gencode_flags(cuda.archs), *includes,
        ]  # fmt: skip
        self.rule("nvcc", f"{shlex.quote(cuda.nvcc)} $flags -MD -MF $out.d -c $in -o $out", depfile=True)
        self.rule("nvcc_link", f"{shlex.quote(cuda.nvcc)} -shared -cudart=static --no-device-link $in -o $out $flags")
        objects = self.objects("nvcc", sources("csrc/cuda", "*.cu"), "cuda", flags)
        directories, stub = [self.torch / "lib"], []
        if not (self.torch / "lib" / "libtorch_cuda.so").exists():
            stub = [self.torch_cuda_stub()]
            directories.append(stub[0].parent)
        # nvcc itself reads "-Wl,...", so words for the linker pass through -Xlinker.
        link = [
            *(f"-L{directory}" for directory in directories), "-Xlinker=--no-as-needed",
            "-ltorch_cuda", "-lc10", "-ltorch_cpu", *gencode_flags(cuda.archs),
        ]  # fmt: skip
        self.install("nvcc_link", "_lib/libwwae_cuda.so", objects, link, stub)

    def torch_cuda_stub(self) -> Path:
        """An empty libtorch_cuda.so: it stands in at link time when the PyTorch at hand has no CUDA."""
        source = self.directory / "stub" / "empty.cpp"
        source.parent.mkdir(exist_ok=True)
        if not source.exists():
            source.touch()
        return self.build(self.directory / "stub" / "libtorch_cuda.so", "link", [source], ["-fPIC", "-Wl,-soname,libtorch_cuda.so"])

    def python_module(self, name: str, files: list[Path], flags: list[str], link: list[str]) -> None:
        """A module `wwae.<name>`. PyTorch's headers come first: they bring the pybind11 that PyTorch was built with."""
        includes = [self.torch / "include", pybind11.get_include(), sysconfig.get_path("include")]
        system = [word for path in includes for word in ("-isystem", str(path))]
        objects = self.objects("cxx", files, name, [*COMMON_FLAGS, *HOST_FLAGS, self.prefix_map, *flags, *system])
        self.install("link", f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}", objects, link)

    def autograd(self) -> None:
        link = [f"-L{self.torch / 'lib'}", "-ltorch_python", "-ltorch_cpu", "-lc10"]
        self.python_module("_autograd", sources("csrc/autograd", "*.cpp"), ["-Icsrc"], link)

    def build_info(self, version: str, levels: list[str], cuda: Cuda) -> None:
        facts = {
            "WWAE_VERSION": version,
            "WWAE_TORCH_VERSION": Version(installed_version("torch")).public,
            "WWAE_CPU_LEVELS": ",".join(levels),
            "WWAE_CUDA_VERSION": "" if cuda.left_out else str(cuda.version),
            "WWAE_CUDA_ARCHS": ",".join(map(str, cuda.archs)),
            "WWAE_CUDA_LEFT_OUT": cuda.left_out or "",
        }
        defines = [f'-D{name}="{value}"' for name, value in facts.items()]
        self.python_module("_C", [Path("csrc/build_info.cpp")], defines, [])

    def install(self, rule: str, name: str, objects: list[Path], flags: list[str], implicit: list[Path] = ()) -> None:
        self.outputs.append(Path(name))
        self.build(self.directory / "out" / name, rule, objects, flags, implicit)

    def write(self) -> None:
        self.file.close()
        os.replace(self.directory / "build.ninja.new", self.directory / "build.ninja")


def sources(directory: str, pattern: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for path in (ROOT / directory).glob(pattern))


def torch_directory() -> Path:
    """Where the installed PyTorch lies; found without importing it, which would take seconds."""
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"wwae is built against PyTorch, which is not installed in {sys.prefix}")
    found = Version(installed_version("torch"))
    if found < MINIMUM_TORCH:
        raise RuntimeError(f"wwae: expected PyTorch {MINIMUM_TORCH} or newer to build against, got {found}")
    return Path(spec.submodule_search_locations[0])


class NinjaBuild(build_ext):
    """The `build_ext` command: generates build.ninja, runs ninja, copies the results beside the Python files."""

    def run(self) -> None:
        directory = ROOT / "build" / f"ninja-{sys.implementation.cache_tag}"
        directory.mkdir(parents=True, exist_ok=True)
        cuda = Cuda()
        levels = cpu_levels(platform.machine())
        with (directory / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two builds of one checkout share the objects
            generated = NinjaFile(directory)
            for level, flags in levels.items():
                generated.cpu_library(level, flags)
            if cuda.left_out is None:
                generated.cuda_library(cuda)
            generated.autograd()
            generated.build_info(self.distribution.get_version(), list(levels), cuda)
            generated.write()
            self.run_ninja(directory)
            self.copy_outputs(directory / "out", generated.outputs)
        print(summary(list(levels), cuda), flush=True)

    def run_ninja(self, directory: Path) -> None:
        jobs = [f"-j{os.environ['MAX_JOBS']}"] if os.environ.get("MAX_JOBS") else []
        executable = str(Path(ninja.BIN_DIR) / "ninja")
        finished = subprocess.run([executable, "-f", str(directory / "build.ninja"), *jobs], cwd=ROOT)
        if finished.returncode != 0:
            raise CompileError("wwae: the compiler failed; its messages stand above")

    def copy_outputs(self, built: Path, outputs: list[Path]) -> None:
        in_place = self.inplace or self.editable_mode
        package = (ROOT if in_place else Path(self.build_lib)) / "wwae"
        wanted = {package / name for name in outputs}
        for stale in {*package.glob("_lib/*.so"), *package.glob("_*.so")} - wanted:
            stale.unlink()
        for name in outputs:
            target = package / name
            if target.exists() and target.stat().st_mtime >= (built / name).stat().st_mtime:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # A running process may have the old file mapped: replace it, never write into it.
            shutil.copy2(built / name, target.with_suffix(".new"))
            os.replace(target.with_suffix(".new"), target)

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}


if __name__ == "__main__":
    setup(
        packages=[*find_packages(str(ROOT), include=["wwae", "wwae.*"]), "wwae.triton_kernels"],
        package_dir={"wwae": "wwae", "wwae.triton_kernels": "triton_kernels"},
        ext_modules=[Extension("wwae._C", ["csrc/build_info.cpp"])],
        cmdclass={"build_ext": NinjaBuild},
    )
