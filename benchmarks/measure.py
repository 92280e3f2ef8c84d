"""What is measured: build the call, and hold its result against the definition."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import DTYPES, LAYOUTS, MATMUL, Case, Setting, cases

# A provider takes the map and its case; it returns the tensor that has a gradient, and the operation as a function of it.
# The first result of that function is the differentiable one. Parameters whose gradients are made as well may follow.
Provider = Callable[[Tensor, Case], tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What a benchmark file gives.

    Args:
        name (str): of the operation.
        wwae, eager (Provider): ours, and the same in plain PyTorch; ``torch.compile`` gets the latter.
        traffic (Callable[[Setting], int]): bytes that the operation has to move.
        comparable (Callable[[Case], bool]): whether PyTorch's result on a case is defined, and the same as ours.
        dtypes (tuple[str, ...]): the dtypes that are measured.
        ties (float or None): share of the elements that may differ from the definition by more than rounding, as a near tie picks
            another tap where sums are rounded another way. Default: None, ours equals the definition to the bit.
        rounding (float or None): the largest difference from the definition that sums of products may have, in parts of the largest
            element. Default: None, as ``ties`` says.
        cases (Callable[[int], list[Case]]): what is measured, for a batch. Default: :func:`benchmarks.cases.cases`.
        flops (Callable[[Setting], int] or None): multiplications and additions; None for what does not multiply. Default: None.
    """

    name: str
    wwae: Provider
    eager: Provider
    traffic: Callable[[Setting], int]
    comparable: Callable[[Case], bool]
    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    ties: float | None = None
    rounding: float | None = None
    cases: Callable[[int], list[Case]] = cases
    flops: Callable[[Setting], int] | None = None


def prepare(operation: Operation, setting: Setting, device: str) -> tuple[Callable[[], Any], int | None]:
    """The function that is timed, its result checked, and the bytes that its forward keeps for backward (None for a copy)."""
    if setting.provider == "copy":
        return _copy(operation.traffic(setting), device), None
    if setting.provider == MATMUL:
        assert operation.flops is not None
        return _matmul(operation.flops(setting), DTYPES[setting.dtype], device), None
    x = _make_map(setting, device)
    leaf, call, *parameters = _build(operation, setting, x)
    function = _in_direction(setting.direction, leaf, call, *parameters)
    _check(operation, setting, x, function)
    return function, _bytes_kept(leaf, call)


def _copy(number_of_bytes: int, device: str) -> Callable[[], Any]:
    source = torch.zeros(number_of_bytes // 2, dtype=torch.uint8, device=device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def _matmul(flops: int, dtype: torch.dtype, device: str) -> Callable[[], Any]:
    size = round((flops / 2) ** (1 / 3))
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return lambda: left @ right


def _make_map(setting: Setting, device: str) -> Tensor:
    generator = torch.Generator(device).manual_seed(0)
    x = torch.randn(setting.case.shape, generator=generator, device=device)
    return x.to(DTYPES[setting.dtype]).contiguous(memory_format=LAYOUTS[setting.layout])


def _build(operation: Operation, setting: Setting, x: Tensor) -> tuple[Any, ...]:
    if setting.provider == "wwae":
        return operation.wwae(x, setting.case)
    leaf, call, *parameters = operation.eager(x, setting.case)
    if setting.provider == "compile":
        torch._dynamo.reset()  # each call is a new function of the same code, of which dynamo compiles only a few
        return leaf, torch.compile(call, fullgraph=True, dynamic=False), *parameters
    return leaf, call, *parameters


def _in_direction(direction: str, leaf: Tensor, call: Callable[[Tensor], Any], *parameters: Tensor) -> Callable[[], Any]:
    if direction == "forward":

        def forward() -> Any:
            with torch.no_grad():
                return call(leaf)

        return forward
    leaf = leaf.detach().requires_grad_()
    result = _first(call(leaf))
    generator = torch.Generator(leaf.device).manual_seed(1)
    # In the layout of the result, and positive: sums that do not cancel can be compared.
    gradient = torch.empty_like(result, requires_grad=False).uniform_(0.5, 1.0, generator=generator)
    if direction == "backward":
        return lambda: torch.autograd.grad(result, (leaf, *parameters), gradient, retain_graph=True)
    return lambda: torch.autograd.grad(_first(call(leaf)), (leaf, *parameters), gradient)


def _first(result: Any) -> Tensor:
    return result if isinstance(result, Tensor) else result[0]


def _check(operation: Operation, setting: Setting, x: Tensor, function: Callable[[], Any]) -> None:
    """Hold a result against the definition, ``wwae.reference``: ours to the bit, PyTorch's up to rounding, but for ties."""
    if setting.provider != "wwae" and not operation.comparable(setting.case):
        return
    result = _first(function())
    expected = _expected(operation, replace(setting, provider="wwae"), str(x.device))
    if operation.rounding is not None:
        largest = expected.abs().max() * operation.rounding
        assert (result - expected).abs().max() <= largest, f"{operation.name}: differs from the definition by more than rounding"
        return
    if operation.ties is not None:
        precision = 100 * torch.finfo(torch.float32).eps if result.dtype == torch.float32 else 2 * torch.finfo(result.dtype).eps
        differing = (~result.isclose(expected, rtol=precision, atol=precision)).double().mean().item()
        assert differing <= operation.ties, f"{operation.name}: {differing:.2%} of the elements differ from the definition"
        return
    exactly = {"rtol": 0, "atol": 0} if setting.provider == "wwae" else {}
    torch.testing.assert_close(result, expected, **exactly)


@functools.lru_cache(maxsize=1)  # the providers of one comparison follow each other
def _expected(operation: Operation, setting: Setting, device: str) -> Tensor:
    with wwae.use_backend("reference"):
        return _first(_in_direction(setting.direction, *operation.wwae(_make_map(setting, device), setting.case))())


def _bytes_kept(leaf: Tensor, call: Callable[[Tensor], Any]) -> int:
    """Bytes of the storages that forward keeps for backward."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _alive = call(leaf.detach().requires_grad_())
    return sum(kept.values())
