"""Builds the kernels of csrc/cuda with the host compiler, into `build/emulation` of the checkout: what changed, once for
all processes of a test run."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import ninja
from ninja import ninja_syntax

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

# -fno-strict-aliasing: vectors are read through uint4; -ftrivial-auto-var-init: a register that is never written shows.
FLAGS = [
    "-std=c++20", "-g1", "-fPIC", "-fno-strict-aliasing", "-ffp-contract=off", "-ftrivial-auto-var-init=pattern",
    "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas",
]  # fmt: skip

# Of the kernels. The sanitizers' own code takes an optimiser long; unoptimised code is fast enough for small maps.
BUILDS = {
    "plain": ["-O1"],
    "sanitized": ["-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined", "-fno-omit-frame-pointer"],
    "threads": ["-O1", "-fsanitize=thread"],
    "counted": ["-O1", "-fsanitize=thread", "-DWWAE_COUNTED"],
}
# Of the emulation itself, which tells the sanitizers what they need to know.
OWN = {
    "plain": [],
    "sanitized": ["-DWWAE_ADDRESS_SANITIZER"],
    "threads": ["-DWWAE_THREAD_SANITIZER"],
    "counted": ["-DWWAE_COUNTED"],
}
OWN_SOURCES = ("collectives", "counting", "emulation", "fiber", "plan", "scheduler", "tensor_cores")


def compiler() -> str | None:
    return shutil.which(os.environ.get("CXX", "g++"))


def cuda_headers() -> Path | None:
    """A folder with cuda_bf16.h: of the toolkit whose nvcc is on PATH, or of NVIDIA's packages that come with PyTorch."""
    folders = [Path(os.environ["CUDA_HOME"], "include")] if "CUDA_HOME" in os.environ else []
    if nvcc := shutil.which("nvcc"):
        report = subprocess.run([nvcc, "--dryrun", "-x", "cu", "/dev/null"], capture_output=True, text=True).stderr
        folders += [Path(found) for found in re.findall(r'"?-I([^" ]+)', report)]
    if packages := importlib.util.find_spec("nvidia"):
        folders += [found for place in packages.submodule_search_locations or [] for found in Path(place).glob("*/include")]
    return next((folder for folder in folders if (folder / "cuda_bf16.h").exists()), None)


def missing() -> str | None:
    """Why nothing can be built here, or None; in a process that was given a library, nothing needs to be built."""
    if "WWAE_EMULATION_LIBRARY" in os.environ:
        return None
    if compiler() is None:
        return "there is no C++ compiler"
    return "cuda_bf16.h was not found: no CUDA toolkit, no CUDA PyTorch" if cuda_headers() is None else None


def _includes() -> list[str]:
    # -idirafter: for what the packages leave out.
    return [f"-I{ROOT / 'csrc'}", f"-I{HERE}", "-isystem", str(cuda_headers()), "-idirafter", str(HERE / "toolkit")]


def build(name: str = "plain") -> Path:
    """The library of one of BUILDS, up to date. Raises RuntimeError with the compiler's words if it does not compile."""
    return _ninja(name, "libemulation.so") / "libemulation.so"


def _ninja(name: str, *targets: str) -> Path:
    """Bring targets of a build up to date; the folder they lie in."""
    folder = ROOT / "build" / "emulation" / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (folder / "build.ninja").open("w") as file:
            writer = ninja_syntax.Writer(file, width=10_000)
            writer.variable("flags", " ".join([*FLAGS, *_includes()]))
            writer.variable("kernel_flags", " ".join(BUILDS[name]))
            # counting.cpp stands in for ThreadSanitizer's runtime.
            writer.variable("link_flags", "" if name == "counted" else "$kernel_flags")
            writer.variable("own_flags", " ".join(["-O2", *OWN[name]]))
            writer.rule("compile", f"{compiler()} $flags $more -MD -MF $out.d -c $in -o $out", depfile="$out.d", deps="gcc")
            writer.rule("link", f"{compiler()} -shared $link_flags $in -o $out")
            sources = [*HERE.glob("*.cpp"), *HERE.glob("kernels/*.cpp")]
            objects = [f"{source.stem}.o" for source in sorted(sources)]
            for source, compiled in zip(sorted(sources), objects, strict=True):
                more = "$own_flags" if source.stem in OWN_SOURCES else "$kernel_flags"
                writer.build(compiled, "compile", str(source), variables={"more": more})
            writer.build("libemulation.so", "link", objects)
        run = subprocess.run([Path(ninja.BIN_DIR, "ninja"), "-C", str(folder), *targets], capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(run.stdout)
    return folder


def build_mutant(name: str, folder: Path, stem: str, header: str, old: str, new: str) -> Path:
    """A library like that of `build`, in `folder`, with one kernel, kernels/<stem>.cpp, and a fault in it: the only `old` in
    `header`, of csrc/cuda, is `new`. Raises ValueError where the header has no such text, or several."""
    text = (ROOT / "csrc" / "cuda" / header).read_text()
    if text.count(old) != 1:
        raise ValueError(f"{header}: expected {old!r} once, found it {text.count(old)} times")
    (folder / "cuda").mkdir()
    (folder / "cuda" / header).write_text(text.replace(old, new))
    own = [f"{source}.o" for source in OWN_SOURCES]
    objects = _ninja(name, *own)
    library = folder / "libemulation.so"
    command = [str(compiler()), "-shared", *FLAGS, *BUILDS[name], f"-I{folder}", *_includes(),
               str(HERE / "kernels" / f"{stem}.cpp"), *(str(objects / part) for part in own), "-o", str(library)]  # fmt: skip
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode:
        raise RuntimeError(run.stderr)
    return library
