"""Swap the max pooling of a model for ours."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import nn

from wwae.nn.fused_sequential import FusedSequential, chains, is_watched
from wwae.nn.index_flow import IndexFlow, find_index_flow
from wwae.nn.max_pool2d import MaxPool2d
from wwae.nn.max_unpool2d import MaxUnpool2d
from wwae.nn.switch_pool2d import SwitchPool2d

__all__ = ["PoolingReport", "Replacement", "replace_pooling"]

_OTHER_MAX_POOLS = (
    nn.MaxPool1d,
    nn.MaxPool3d,
    nn.MaxUnpool1d,
    nn.MaxUnpool3d,
    nn.AdaptiveMaxPool1d,
    nn.AdaptiveMaxPool2d,
    nn.AdaptiveMaxPool3d,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
)


@dataclass(frozen=True)
class Replacement:
    """One module, or one call of a pooling function, and what became of it.

    Attributes:
        name (str): its name in the model; several names of one module are joined by commas.
        before, after (str): its class; the same where it was left alone.
        reason (str): why, in words.
        fusion (str): for a pool, which layers run in one pass with it, or why none do; empty without ``fuse``.
    """

    name: str
    before: str
    after: str
    reason: str
    fusion: str = ""


@dataclass(frozen=True)
class PoolingReport:
    """What :func:`replace_pooling` did. ``str(report)`` is a table of it.

    Attributes:
        entries (tuple[Replacement, ...]): one for each max pool and unpool of the model, in the model's order.
    """

    entries: tuple[Replacement, ...]

    def __str__(self) -> str:
        rows = [
            (
                entry.name or "(the model)",
                f"{entry.before} -> {entry.after}" if entry.before != entry.after else f"{entry.before}, left alone",
                f"{entry.reason}; {entry.fusion}" if entry.fusion else entry.reason,
            )
            for entry in self.entries
        ] or [("", "no max pooling found", "")]
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(f"{name:<{widths[0]}}  {change:<{widths[1]}}  {reason}".strip() for name, change, reason in rows)


def replace_pooling(model: nn.Module, fuse: bool = True, inplace: bool = False) -> tuple[nn.Module, PoolingReport]:
    """Swap every max pool and unpool of a model for ours: the same numbers, less memory, deterministic on every device.

    - ``MaxPool2d(return_indices=True)`` whose indices go to ``MaxUnpool2d`` modules and nowhere else becomes
      :class:`wwae.nn.SwitchPool2d`: one byte for an index in place of eight, and the unpool needs no ``output_size``.
    - Every other ``MaxPool2d`` and every ``MaxUnpool2d`` becomes the drop-in :class:`wwae.nn.MaxPool2d` or
      :class:`wwae.nn.MaxUnpool2d`, with int64 indices where the model sees them.
    - With ``fuse``, ``torch.nn.Sequential`` that runs ``Conv2d, ReLU, MaxPool2d`` or ``BatchNorm2d, ReLU, MaxPool2d`` one after
      the other becomes :class:`wwae.nn.FusedSequential`, which computes them in one pass. Chains that ``forward`` calls itself, or
      whose maps something else sees, stay single layers.
    - Subclasses of them, other kinds of pooling, and pooling functions that ``forward`` calls are left alone.

    What is changed and returned is a deep copy of the model, with parameters of its own: an optimizer has to be made from those, as
    one that was made before holds the parameters of ``model``. With ``inplace`` it is ``model`` itself, whose parameters and
    modules stay the same objects. Of a module the class alone changes: its name, hooks, attributes and state dict stay.
    Another copy, which shares the parameters, is traced with ``torch.fx`` to find where indices go; a model that can't be traced
    keeps int64 indices.

    Numbers are the same bit for bit, those of fused chains to the rounding that :class:`wwae.nn.FusedSequential` states and that of
    the gradient of a bias, with three exceptions. An unpool of switches gives the size that was pooled, also where PyTorch's
    default size loses a last odd row or column, or raises as an index lies outside it. It refuses any other ``output_size``. Where
    windows overlap, the gradient of an unpool goes to the window that won, and 16-bit gradients of a pool are summed in float32.

    A fused chain sees hooks, exchanged layers and a ``forward`` put on an instance, but no patch of ``torch.nn.Conv2d.forward``,
    ``torch.nn.ReLU.forward`` or ``torch.nn.functional.conv2d`` for the whole process: use ``fuse=False`` with tools that make one.

    Args:
        model (nn.Module): any; one wrapped in ``DataParallel``, ``DistributedDataParallel`` or ``torch.compile`` as well.
        fuse (bool): run chains of convolution or batch normalisation, ReLU and pooling in one pass. Default: True.
        inplace (bool): change ``model`` itself and return it; else leave it alone and return a deep copy. Default: False.

    Returns:
        model (nn.Module): the deep copy, or with ``inplace`` the model that was given, with our pooling.
        report (PoolingReport): every module touched or left alone, and why.

    Raises:
        TypeError: if ``model`` is no module.

    Example:
        >>> model, report = wwae.replace_pooling(torch.nn.Sequential(torch.nn.MaxPool2d(2)))
        >>> report.entries[0].name, report.entries[0].after
        ('0', 'wwae.nn.MaxPool2d')
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"replace_pooling: expected model to be a torch.nn.Module, got {type(model).__name__}")
    if not inplace:
        model = copy.deepcopy(model)
    inner = _unwrapped(model)
    flow = find_index_flow(inner)
    names_inside = {module: name for name, module in inner.named_modules()}
    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)

    targets = {module: choice for module in names if (choice := _choose(module, names_inside.get(module), flow)) is not None}
    before = {module: _label(module) for module in targets}
    for module, (target, _) in targets.items():
        if target is not None:
            # The class alone is exchanged: the object keeps its hooks and attributes, and stays the same one wherever else the
            # model refers to it (lists, slices of a Sequential, a second name).
            module.__class__ = target
    fused = _fuse(model, names) if fuse else {}

    entries = []
    for module, (_, reason) in targets.items():
        fusion = ""
        if fuse and isinstance(module, (MaxPool2d, SwitchPool2d)):
            fusion = fused.get(module) or f"not fused: {_why_not(module, model)}"
        entries.append(Replacement(", ".join(names[module]), before[module], _label(module), reason, fusion))
    for scope, function in sorted(flow.functions):
        if inner.get_submodule(scope) in targets:
            continue
        place = ".".join(part for part in (names[inner][0], scope) if part)
        entries.append(Replacement(place, function, function, "a function that forward calls, not a module"))
    return model, PoolingReport(tuple(entries))


def _fuse(model: nn.Module, names: dict[nn.Module, list[str]]) -> dict[nn.Module, str]:
    """Let the Sequentials of a model run their chains in one pass; returns what was done, in words, for each pool."""
    fused: dict[nn.Module, str] = {}
    for sequential in list(model.modules()):
        if not _is_plain_sequential(sequential) or "forward" in vars(sequential):
            continue
        for layers in chains(sequential):
            if len(layers) == 3:
                sequential.__class__ = FusedSequential
                first, relu = names[layers[0]][0], names[layers[1]][0]
                fused[layers[2]] = f"fused: runs in one pass with {first} and {relu}"
    return fused


def _is_plain_sequential(module: nn.Module) -> TypeGuard[nn.Sequential]:
    return type(module) in (nn.Sequential, FusedSequential)


def _why_not(pool: nn.Module, model: nn.Module) -> str:
    """Why no chain ends in a pool, in words."""
    if pool.return_indices and not isinstance(pool, SwitchPool2d):
        return "it gives int64 indices"
    for sequential in model.modules():
        if _is_plain_sequential(sequential):
            layers = [layer for group in chains(sequential) for layer in group]
            if pool in layers:
                before = layers[max(layers.index(pool) - 2, 0) : layers.index(pool)]
                watched = [_label(layer) for layer in (*before, pool) if is_watched(layer)]
                if watched:
                    return f"a hook sees the maps of {watched[0]}"
                return f"{' and '.join(map(_label, before)) or 'nothing'} before it"
        elif type(sequential).forward is nn.Sequential.forward and pool in sequential.children():
            return f"{_label(sequential)} runs it, a class of its own"
    return "no torch.nn.Sequential runs it, but a forward that may use the maps before it"


def _choose(module: nn.Module, name: str | None, flow: IndexFlow) -> tuple[type[nn.Module] | None, str] | None:
    """The class that a module gets (None: it keeps its own) and why; None for a module that pools nothing."""
    if isinstance(module, torch.jit.ScriptModule):
        is_pool = module.original_name in ("MaxPool2d", "MaxUnpool2d")
        return (None, "compiled by TorchScript") if is_pool else None
    if isinstance(module, _OTHER_MAX_POOLS):
        return None, "only two-dimensional max pooling with fixed windows has switches"
    if not isinstance(module, (nn.MaxPool2d, nn.MaxUnpool2d)):
        return None
    if type(module) is SwitchPool2d:
        return None, "hands on switches already"
    if type(module) not in (nn.MaxPool2d, nn.MaxUnpool2d, MaxPool2d, MaxUnpool2d):
        return None, "a class of its own, which may compute something else"
    if "forward" in vars(module):
        return None, "its forward was exchanged on the object"
    if isinstance(module, nn.MaxUnpool2d):
        pools = sorted(pool for pool, unpools in flow.unpools.items() if name in unpools and pool not in flow.obstacles)
        return MaxUnpool2d, f"takes the switches of {', '.join(pools)}" if pools else "takes int64 indices as before"
    if not module.return_indices:
        return MaxPool2d, "gives values alone; backward keeps switches instead of the input and int64 indices"
    obstacle = _obstacle(name, flow)
    if obstacle is not None:
        return MaxPool2d, f"keeps int64 indices: {obstacle}"
    return SwitchPool2d, f"its indices go to {', '.join(sorted(flow.unpools[str(name)]))} alone: switches in their place"


def _obstacle(name: str | None, flow: IndexFlow) -> str | None:
    """Why the pool of this name can't hand on switches; None where it can."""
    if flow.failure is not None:
        return f"the model can't be traced ({flow.failure})"
    if name is None or name not in flow.unpools:
        return "the trace of the model's forward doesn't reach it"
    if name in flow.obstacles:
        return flow.obstacles[name]
    return None if flow.unpools[name] else "its indices reach no MaxUnpool2d"


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model inside wrappers that spread or compile it."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):  # what torch.compile returns
            model = compiled
        else:
            return model


def _label(module: nn.Module) -> str:
    """A module's class as a user would write it."""
    cls = type(module)
    home = next((home for home in ("torch.nn", "wwae.nn") if cls.__module__.startswith(f"{home}.")), cls.__module__)
    return f"{home}.{cls.__qualname__}"
