"""Where the indices of a model's max pools go, found by symbolic tracing of a copy that shares the parameters."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.fx import Node, Proxy
from torch.utils import _pytree as pytree

from wwae.nn.max_pool2d import MaxPool2d
from wwae.nn.max_unpool2d import MaxUnpool2d
from wwae.nn.switch_pool2d import SwitchPool2d

__all__ = ["IndexFlow", "find_index_flow"]

_POOLS = (nn.MaxPool2d, MaxPool2d, SwitchPool2d)
_FUNCTIONS = {
    torch.nn.functional.max_pool2d: "torch.nn.functional.max_pool2d",
    torch.nn.functional.max_pool2d_with_indices: "torch.nn.functional.max_pool2d",
    torch.nn.functional.max_unpool2d: "torch.nn.functional.max_unpool2d",
    torch.max_pool2d: "torch.max_pool2d",
}


@dataclass
class IndexFlow:
    """What a trace of a model tells about its max pools; modules go by the first of their names.

    Attributes:
        unpools (dict[str, set[str]]): for each pool that was called, the ``MaxUnpool2d`` modules that take its indices.
        obstacles (dict[str, str]): for each pool whose indices go elsewhere as well, where, in words.
        functions (set[tuple[str, str]]): calls of pooling functions: the module that makes them and the function's name.
        failure (str | None): why the model can't be traced; nothing else is known then.
    """

    unpools: dict[str, set[str]] = field(default_factory=dict)
    obstacles: dict[str, str] = field(default_factory=dict)
    functions: set[tuple[str, str]] = field(default_factory=set)
    failure: str | None = None


def find_index_flow(model: nn.Module) -> IndexFlow:
    """Trace ``model`` in training and in evaluation mode. Neither the model nor its random numbers nor its hooks notice."""
    flow = IndexFlow()
    try:
        shared: dict[int, Any] = {id(parameter): parameter for parameter in model.parameters()}
        with torch.random.fork_rng(devices=[]):
            for training in (True, False):
                _trace(copy.deepcopy(model, dict(shared)).train(training), flow)
    except Exception as error:  # forward is any code at all, and symbols in the place of tensors may break it in any way
        lines = str(error).splitlines() or [""]
        return IndexFlow(failure=f"{type(error).__name__}: {lines[0][:120]}")
    return flow


class _Tracer(torch.fx.Tracer):
    """Every pool is one node. Hooks don't run, as they are to see no symbols, but what they would see is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols: list[tuple[weakref.ref[Proxy], Node]] = []
        self.hooked: list[tuple[str, set[Node]]] = []

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (nn.MaxPool2d, nn.MaxUnpool2d)) or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: Node) -> Proxy:
        symbol = super().proxy(node)
        self.symbols.append((weakref.ref(symbol), node))
        return symbol

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call_module(m, m.forward, args, kwargs)
        if type(m) in _POOLS and m.return_indices:
            result = result[0], result[1]  # known to be two, so the model may unpack it in any way
        if m._forward_hooks or m._forward_pre_hooks:
            shown = (args, kwargs, result) if m._forward_hooks else (args, kwargs)
            seen = {leaf.node for leaf in pytree.tree_leaves(shown) if isinstance(leaf, Proxy)}
            self.hooked.append((self.path_of_module(m), seen))
        return result

    def outlives(self, value: Node) -> bool:
        """Whether something still refers to a value when ``forward`` has returned: it was stored."""

        def alive() -> bool:
            return any(node is value and symbol() is not None for symbol, node in self.symbols)

        if alive():
            gc.collect()
        return alive()


def _trace(model: nn.Module, flow: IndexFlow) -> None:
    tracer = _Tracer()
    graph = tracer.trace(model)
    names = {module: name for name, module in model.named_modules()}

    def module_of(node: Node) -> nn.Module | None:
        return model.get_submodule(str(node.target)) if node.op == "call_module" else None

    for node in graph.nodes:
        module = module_of(node)
        if isinstance(module, nn.MaxPool2d) and type(module) in _POOLS and module.return_indices:
            name = names[module]
            unpools = flow.unpools.setdefault(name, set())
            indices = next(user for user in node.users if user.args[1] == 1)
            for user in indices.users:
                unpool = module_of(user)
                obstacle = _obstacle(module, user, unpool, names)
                if obstacle is not None:
                    flow.obstacles.setdefault(name, obstacle)
                elif unpool is not None:
                    unpools.add(names[unpool])
            if tracer.outlives(indices):
                flow.obstacles.setdefault(name, "its indices are stored")
            for path, seen in tracer.hooked:
                if indices in seen:
                    flow.obstacles.setdefault(name, f"a hook of {path} sees its indices")
        elif node.op == "call_function" and node.target in _FUNCTIONS:
            scope = next(reversed(node.meta.get("nn_module_stack") or {"": None}))
            flow.functions.add((str(scope), _FUNCTIONS[node.target]))


def _obstacle(pool: nn.MaxPool2d, user: Node, unpool: nn.Module | None, names: dict[nn.Module, str]) -> str | None:
    """Why the user of a pool's indices can't be given switches; None where it can."""
    if user.op == "output":
        return "the model returns its indices"
    if unpool is None:
        called = user.target if isinstance(user.target, str) else getattr(user.target, "__name__", str(user.target))
        attribute = f" ({user.args[1]})" if user.target is getattr else ""
        return f"its indices are used by {called}{attribute}"
    name = names[unpool]
    if type(unpool) not in (nn.MaxUnpool2d, MaxUnpool2d) or "forward" in vars(unpool):
        return f"its indices go to {name} ({type(unpool).__name__}), which may expect int64"
    given = dict(zip(("input", "indices", "output_size"), user.args, strict=False)) | user.kwargs
    if given.get("output_size") is None and not _same_windows(pool, unpool):
        return f"{name} has other windows and is given no output_size"
    return None


def _same_windows(pool: nn.MaxPool2d, unpool: nn.Module) -> bool:
    """Whether the unpool's default size is that of the map that was pooled, up to the remainder that windows leave."""

    def pair(size: Any) -> tuple[Any, ...]:
        return tuple(size) if isinstance(size, (tuple, list)) else (size, size)

    same = all(pair(getattr(pool, name)) == pair(getattr(unpool, name)) for name in ("kernel_size", "stride", "padding"))
    return same and pair(pool.dilation) == (1, 1)
