"""Reading the maps of a classifier while it runs, without changing it for whoever else uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from wwae.models.macro_layers import Site
from wwae.nn import FusedSequential, MaxPool2d
from wwae.nn.fused_sequential import chains, run_chain
from wwae.ops import Switches, switch_pool2d

__all__ = ["Recording", "recording"]


class Recording:
    """What a classifier showed in one run.

    Attributes:
        maps (dict[Site, Tensor]): the map at each site.
        switches (dict[Site, Switches]): where its maxima stood, for each site that is a max pool.
    """

    def __init__(self, sites: Iterable[Site], overwritten: Iterable[Site] = ()) -> None:
        self.sites = frozenset(sites)
        self.overwritten = frozenset(overwritten)
        self.maps: dict[Site, Tensor] = {}
        self.switches: dict[Site, Switches] = {}
        self._calls: dict[tuple[str, str], int] = {}

    def pooled(self, module: str, values: Tensor, switches: Switches) -> Tensor:
        """Keep what a pool gave if this call is one of the sites; returns the values, a copy where they will be written into."""
        site = self._next("pool", module)
        if site in self.sites:
            self.maps[site], self.switches[site] = values, switches
        return values.clone() if site in self.overwritten else values

    def keep(self, kind: str, module: str, value: Any) -> Any:
        """Keep what a module takes or gives if this call is one of the sites; returns a copy where that will be written into."""
        site = self._next(kind, module)
        if site in self.sites:
            self.maps[site] = value
        return value.clone() if site in self.overwritten else None

    def _next(self, kind: str, module: str) -> Site:
        call = self._calls.get((kind, module), 0)
        self._calls[kind, module] = call + 1
        return Site(kind, module, call)  # type: ignore[arg-type]


@contextmanager
def recording(
    classifier: nn.Module, sites: Iterable[Site], overwritten: Iterable[Site] = (), fuse: bool = False
) -> Iterator[Recording]:
    """Record the maps at some sites of every run of ``classifier`` inside the block.

    Max pools among the sites run as :func:`wwae.ops.switch_pool2d`, which has PyTorch's values bit for bit. Hooks of the modules
    run as ever, and see what they always see. Where the classifier goes on by writing into a recorded map, it gets a copy of it:
    these sites are ``overwritten``. With ``fuse`` its Sequentials run what comes before a max pool together with it, as
    :class:`wwae.nn.FusedSequential`.
    """
    record = Recording(sites, overwritten)
    with ExitStack() as stack:
        watched = sorted({(site.kind, site.module) for site in record.sites})
        for kind, name in watched:
            if kind == "pool":
                continue
            module = classifier.get_submodule(name)
            if kind == "output":
                hook = module.register_forward_hook(lambda _module, _inputs, output, name=name: record.keep("output", name, output))
                stack.callback(hook.remove)
            else:
                hook = module.register_forward_pre_hook(lambda _module, inputs, name=name: record.keep("input", name, inputs[0]))
                stack.callback(hook.remove)
        # What the hooks above watch is not fused; the pools below are not watched, but record.
        for sequential, groups in _fusible(classifier) if fuse else ():
            stack.enter_context(_in_place_of_forward(sequential, _running(record, classifier, groups)))
        for kind, name in watched:
            if kind == "pool" and not name:
                stack.enter_context(_PoolCalls(record))
            elif kind == "pool":
                module = classifier.get_submodule(name)
                stack.enter_context(_in_place_of_forward(module, _pooling(record, name, module)))
        yield record


def _fusible(classifier: nn.Module) -> list[tuple[nn.Module, list[tuple[nn.Module, ...]]]]:
    """The Sequentials that hold a chain of layers to run together, and how they fall apart into chains and single layers."""
    found = []
    for module in classifier.modules():
        if type(module) in (nn.Sequential, FusedSequential) and "forward" not in vars(module):
            groups = chains(module.children(), (nn.MaxPool2d, MaxPool2d))
            if any(len(layers) == 3 for layers in groups):
                found.append((module, groups))
    return found


def _running(record: Recording, classifier: nn.Module, groups: list[tuple[nn.Module, ...]]) -> Callable[[Any], Any]:
    names = {module: name for name, module in classifier.named_modules()}

    def forward(input: Any) -> Any:
        for layers in groups:
            input = layers[0](input) if len(layers) == 1 else record.pooled(names[layers[2]], *run_chain(layers, input))
        return input

    return forward


def _pooling(record: Recording, name: str, module: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(input: Tensor) -> Tensor:
        window = module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode
        return record.pooled(name, *switch_pool2d(input, *window))  # type: ignore[arg-type]

    return forward


@contextmanager
def _in_place_of_forward(module: nn.Module, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    module.forward = forward
    try:
        yield
    finally:
        del module.forward


class _PoolCalls(TorchFunctionMode):
    """Turns calls of PyTorch's max-pooling functions into recorded ones."""

    def __init__(self, record: Recording) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        settings = dict(kwargs or {})
        if func in (F.max_pool2d, torch.max_pool2d) and not settings.pop("return_indices", False):
            if "input" in settings:
                settings["x"] = settings.pop("input")
            return self.record.pooled("", *switch_pool2d(*args, **settings))
        return func(*args, **(kwargs or {}))
