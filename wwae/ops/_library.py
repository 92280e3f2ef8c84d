"""The torch library ``wwae``: schemas, fake kernels and derivatives are registered here, implementations by each backend.

An operation has two derivative registrations made from one set of formulas. ``torch.library.register_autograd`` serves
``torch.compile`` and ``torch.export``, but has no forward mode and no ``torch.func`` transforms. A ``torch.autograd.Function``
serves eager mode and ``torch.func``, but does not compile. Where ``csrc/autograd`` is loaded, plain calls in eager mode of hard
pooling and unpooling, and of pooling after bias or batch norm, are served by the same formulas in C++.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd import forward_ad

from wwae._extension import autograd_library

LIBRARY = torch.library.Library("wwae", "DEF")

OPERATIONS: list[str] = []
"""Names of all operations, in the order of their definition."""


def define(schema: str, fake: Callable[..., Any]) -> torch._ops.OpOverload:
    """Define ``wwae::<schema>`` with its fake kernel and return its overload."""
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    torch.library.register_fake(f"wwae::{name}", fake, lib=LIBRARY)
    OPERATIONS.append(name)
    return getattr(torch.ops.wwae, name).default


class Differentiable(torch.autograd.Function):
    """An operation with its derivatives: a subclass gives ``setup_context``, ``backward`` and ``jvp``.

    ``tensors`` is the number of leading arguments that are tensors; the others are constants. Where some of them have no batch
    dimension, the subclass gives its own ``vmap``. Where backward is one fused operation, ``composed_backward`` takes the arguments
    of that and is made of operations that have derivatives.

    ``run`` calls the operation; ``in_python`` does so without C++.
    """

    operation: ClassVar[torch._ops.OpOverload]
    tensors: ClassVar[int]
    run: ClassVar[Callable[..., Any]]
    in_python: ClassVar[Callable[..., Any]]
    composed_backward: ClassVar[Callable[..., Any] | None] = None
    eager: ClassVar[type[torch.autograd.Function]]

    def __init_subclass__(cls) -> None:
        setattr(cls, "forward", staticmethod(_below_autograd(cls.operation)))  # noqa: B010  (mypy takes an assignment for a mistake)
        setattr(cls, "backward", staticmethod(_of_gradients(cls.backward)))  # noqa: B010
        if "vmap" not in vars(cls):
            setattr(cls, "vmap", staticmethod(lambda info, dims, *arguments: _fold_batch(cls, info, dims, arguments)))  # noqa: B010
        cls.eager = _with_combined_forward(cls)
        cls.in_python = staticmethod(_runner(cls))
        cls.run = staticmethod(_in_eager_mode(cls))
        torch.library.register_autograd(cls.operation, cls.backward, setup_context=cls.setup_context, lib=LIBRARY)


def only_first_differentiable(ctx: Any, *others: Tensor) -> None:
    """Of the results the first has a derivative, ``others`` none; backward gets None for them, not zeros as large as they are."""
    ctx.mark_non_differentiable(*others)
    ctx.set_materialize_grads(False)


def _of_gradients(backward: Callable[..., tuple]) -> Callable[..., tuple]:
    """``backward``; nothing where no gradient comes, as from what has no derivative."""

    def call(ctx: Any, *grads: Tensor | None) -> tuple:
        for grad in grads:
            if grad is not None:
                return backward(ctx, *grads)
        return (None,) * len(ctx.needs_input_grad)

    return call


def _in_eager_mode(function: type[Differentiable]) -> Callable[..., Any]:
    """What calls the operation: in C++ where that library is loaded, and has it, else :func:`_runner`'s function."""
    in_python = function.in_python
    if autograd_library().reason is not None:
        return in_python
    name = function.operation._schema.name.removeprefix("wwae::")
    in_cpp = import_module("wwae._autograd").in_eager_mode(name, in_python, function.composed_backward)
    if in_cpp is in_python:
        return in_python

    def run(*arguments: Any) -> Any:
        # The compiler can't look into C++.
        return in_python(*arguments) if torch.compiler.is_compiling() else in_cpp(*arguments)

    return run


def _runner(function: type[Differentiable]) -> Callable[..., Any]:
    """What calls the operation, differentiably where a derivative may be asked for."""
    operation, tensors = function.operation, function.tensors
    plain, eager = function.forward, function.eager.apply

    def run(*arguments: Any) -> Any:
        if torch.compiler.is_compiling():
            return operation(*arguments)
        if torch._C._are_functorch_transforms_active():
            return function.apply(*arguments)
        if _derivative_wanted(arguments[:tensors]):
            return eager(*arguments)
        return plain(*arguments)

    return run


def _with_combined_forward(function: type[Differentiable]) -> type[torch.autograd.Function]:
    """``function`` in the form that has no ``torch.func`` transforms and whose ``apply`` takes 2 microseconds instead of 11."""
    plain = function.forward

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = plain(*arguments)
        function.setup_context(ctx, arguments, output)
        return output

    members = {"forward": forward, "backward": function.backward, "jvp": function.jvp}
    return type(function.__name__, (torch.autograd.Function,), {name: staticmethod(member) for name, member in members.items()})


def without_derivative(operation: torch._ops.OpOverload) -> Callable[..., Any]:
    """What calls an operation in a backward that is not differentiated again, past its Python autograd kernel."""
    below = _below_autograd(operation)

    def call(*arguments: Any) -> Any:
        return operation(*arguments) if torch.compiler.is_compiling() else below(*arguments)

    return call


def _below_autograd(operation: torch._ops.OpOverload) -> Callable[..., Any]:
    """The operation without its Python autograd kernel, which would cost as much as a small pooling and record nothing."""

    call_operation, below = operation._op, torch._C._AutoDispatchBelowAutograd

    def call(*arguments: Any) -> Any:
        with below():
            return call_operation(*arguments)

    return call


def _derivative_wanted(tensors: tuple[Tensor | None, ...]) -> bool:
    if forward_ad._current_level >= 0:
        return True
    if torch.is_grad_enabled():
        for tensor in tensors:
            if tensor is not None and tensor.requires_grad:
                return True
    return False


def _fold_batch(function: type[Differentiable], info: Any, in_dims: tuple, arguments: tuple) -> tuple[Any, Any]:
    """Batching rule: planes are independent, so the mapped dimension becomes a part of the batch dimension."""
    folded = []
    for tensor, dim in zip(arguments[: function.tensors], in_dims, strict=False):
        mapped = tensor.expand(info.batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
        folded.append(mapped.flatten(0, 1))
    results = function.run(*folded, *arguments[function.tensors :])
    if isinstance(results, Tensor):
        return results.unflatten(0, (info.batch_size, -1)), 0
    return tuple(result.unflatten(0, (info.batch_size, -1)) for result in results), (0,) * len(results)
