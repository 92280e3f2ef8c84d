"""Runs the fastest of several implementations of an operation: each shape is measured once.

The composition is the measure: another implementation is taken only where it was faster. Nothing is measured while a graph is
captured or compiled, nor under ``torch.use_deterministic_algorithms``, where results must not depend on a stopwatch: then what is
remembered runs, else the composition.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import Tensor

from wwae.ops._choices import Choice, Choices, cache_directory, logger
from wwae.reference.window import memory_format

COMPOSITION = "composition"

# A fused kernel has to be this much faster: less is noise, and the composition's memory and rounding are better known.
_GAIN = 0.98


def fastest(
    operation: str,
    implementations: Mapping[str, Callable[..., Any]],
    choices_of: Callable[[torch.device], Choices],
    seconds: Callable[[Callable[[], Any]], float],
    may_measure: Callable[[], bool],
    comparable: Callable[[Tensor], bool],
) -> Callable[..., Any]:
    """A function that runs the fastest of ``implementations``, of which one is the ``COMPOSITION``.

    ``choices_of(device)`` remembers what was found, ``seconds(run)`` times a call, ``may_measure()`` says whether one may, and
    ``comparable(x)`` whether the others compute in the precision that the composition has for the first argument.
    """
    composition = implementations[COMPOSITION]
    found: dict[tuple, Callable[..., Any]] = {}

    def run(*arguments: Any) -> Any:
        if not comparable(arguments[0]):
            return composition(*arguments)
        call = (arguments[0].device, *map(_described, arguments))
        implementation = found.get(call)
        if implementation is None:
            name = f"{operation}{call[1:]}"
            choices = choices_of(arguments[0].device)
            choice = choices[name]
            if choice is None or choice.implementation not in implementations:
                if not may_measure():
                    return composition(*arguments)
                choice = _measured(implementations, arguments, seconds)
                choices.remember(name, choice)
                logger.info("%s on %s: %s", name, arguments[0].device, choice)
            implementation = found[call] = implementations[choice.implementation]
        return implementation(*arguments)

    return run


def _described(argument: Any) -> Any:
    """What of an argument decides the time of a call."""
    if isinstance(argument, Tensor):
        return tuple(argument.shape), argument.dtype, memory_format(argument) if argument.dim() == 4 else None
    return tuple(argument) if isinstance(argument, Sequence) else argument


def _measured(
    implementations: Mapping[str, Callable[..., Any]], arguments: Sequence[Any], seconds: Callable[[Callable[[], Any]], float]
) -> Choice:
    times = {COMPOSITION: seconds(partial(implementations[COMPOSITION], *arguments)) * 1e6}
    refusals = {}
    for name, implementation in implementations.items():
        if name != COMPOSITION:
            try:
                times[name] = seconds(partial(implementation, *arguments)) * 1e6
            except Exception as refusal:  # whatever it is that a kernel can't do here, the composition can
                refusals[name] = (str(refusal) or type(refusal).__name__).splitlines()[0]
    best = min(times, key=times.__getitem__)
    return Choice(best if times[best] < _GAIN * times[COMPOSITION] else COMPOSITION, times, refusals)


def gpu_seconds(run: Callable[[], Any]) -> float:
    """What a call takes on the current CUDA stream: the median of 15, after the compilation and caches of three."""
    for _ in range(3):
        run()
    times = []
    for _ in range(15):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return statistics.median(times)


def gpu_may_measure() -> bool:
    return not (
        torch.compiler.is_compiling() or torch.are_deterministic_algorithms_enabled() or torch.cuda.is_current_stream_capturing()
    )


def gpu_comparable(x: Tensor) -> bool:
    """Fused kernels multiply float32 as tf32, the library's convolutions where they are let."""
    return x.dtype != torch.float32 or torch.backends.cudnn.conv.fp32_precision == "tf32"  # type: ignore[attr-defined]


@cache
def gpu_choices(device: torch.device) -> Choices:
    """The choices of this GPU with these versions."""
    environment = {
        "gpu": torch.cuda.get_device_name(device),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
        "cudnn": str(torch.backends.cudnn.version()),
        "triton": _version("triton"),
        "wwae": _version("wwae"),
    }
    return Choices(cache_directory(), environment)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
