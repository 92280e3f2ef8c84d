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

    def pool(self, module: str, *arguments: Any, **settings: Any) -> Tensor:
        """Pool, and keep values and switches if this call is one of the sites."""
        site = self._next("pool", module)
        values, switches = switch_pool2d(*arguments, **settings)
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
def recording(classifier: nn.Module, sites: Iterable[Site], overwritten: Iterable[Site] = ()) -> Iterator[Recording]:
    """Record the maps at some sites of every run of ``classifier`` inside the block.

    Max pools among the sites run as :func:`wwae.ops.switch_pool2d`, which has PyTorch's values bit for bit. Hooks of the modules
    run as ever, and see what they always see. Where the classifier goes on by writing into a recorded map, it gets a copy of it:
    these sites are ``overwritten``.
    """
    record = Recording(sites, overwritten)
    with ExitStack() as stack:
        for kind, name in sorted({(site.kind, site.module) for site in record.sites}):
            if kind == "pool" and not name:
                stack.enter_context(_PoolCalls(record))
                continue
            module = classifier.get_submodule(name)
            if kind == "pool":
                stack.enter_context(_in_place_of_forward(module, _pooling(record, name, module)))
            elif kind == "output":
                hook = module.register_forward_hook(lambda _module, _inputs, output, name=name: record.keep("output", name, output))
                stack.callback(hook.remove)
            else:
                hook = module.register_forward_pre_hook(lambda _module, inputs, name=name: record.keep("input", name, inputs[0]))
                stack.callback(hook.remove)
        yield record


def _pooling(record: Recording, name: str, module: nn.Module) -> Callable[[Tensor], Tensor]:
    def forward(input: Tensor) -> Tensor:
        return record.pool(name, input, module.kernel_size, module.stride, module.padding, module.dilation, module.ceil_mode)

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
            return self.record.pool("", *args, **settings)
        return func(*args, **(kwargs or {}))
