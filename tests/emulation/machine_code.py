"""What nvcc made of the kernels: read out of the built CUDA library, for GPUs that need not be there."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

LIBRARY = Path(__file__).parents[2] / "wwae" / "_lib" / "libwwae_cuda.so"


class Kernel(NamedTuple):
    """A kernel of the library, as compiled for one architecture (80, 86 …).

    ``name`` has its template arguments, ``symbol`` is what the linker calls it; ``used`` is the report of cuobjdump: REG of a
    thread, STACK and LOCAL bytes of a thread outside registers, SHARED bytes of a block.
    """

    architecture: int
    name: str
    symbol: str
    used: dict[str, int]


def cuobjdump() -> str | None:
    """The toolkit's, or the one that Triton carries."""
    if found := shutil.which("cuobjdump"):
        return found
    triton = importlib.util.find_spec("triton")
    carried = Path(triton.origin).parent / "backends" / "nvidia" / "bin" / "cuobjdump" if triton and triton.origin else None
    return str(carried) if carried and carried.exists() else None


def unreadable() -> str | None:
    """Why the library cannot be read here, or None."""
    if not LIBRARY.exists():
        return "the CUDA library was not built: there is no nvcc, or WWAE_BUILD_CUDA=0"
    if cuobjdump() is None or shutil.which("c++filt") is None:
        return "cuobjdump and c++filt, which read the library, were not found"
    return None


def _dump(*options: str) -> str:
    return subprocess.run([str(cuobjdump()), *options, str(LIBRARY)], capture_output=True, text=True, check=True).stdout


def readable(symbols: list[str]) -> list[str]:
    """Symbols as C++ writes them."""
    run = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True)
    return run.stdout.splitlines()


def compiled_kernels() -> list[Kernel]:
    """Every kernel of wwae in the library, once for each architecture."""
    lines = _dump("--dump-resource-usage").splitlines()
    found: list[tuple[int, str, dict[str, int]]] = []
    architecture = 0
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if match := re.match(r"arch = sm_(\d+)", line):
            architecture = int(match[1])
        elif match := re.match(r"\s*Function (_ZN4wwae\w+):", line):
            used = {name: int(number) for name, number in re.findall(r"(REG|STACK|SHARED|LOCAL):(\d+)", following)}
            found.append((architecture, match[1], used))
    names = readable([symbol for _, symbol, _ in found])
    return [Kernel(sm, name, symbol, used) for (sm, symbol, used), name in zip(found, names, strict=True)]


def instructions(kernel: Kernel) -> Counter[str]:
    """How often each instruction stands in its machine code, modifiers included."""
    code = _dump("-sass", f"-arch=sm_{kernel.architecture}", f"-fun={kernel.symbol}")
    return Counter(re.findall(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", code, re.MULTILINE))
