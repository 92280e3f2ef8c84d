"""A ``Sequential`` that runs the layers before a max pooling together with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from wwae.nn.batch_norm_relu_pool2d import normalised_relu_pool
from wwae.nn.max_pool2d import MaxPool2d
from wwae.nn.switch_pool2d import SwitchPool2d
from wwae.ops import Switches, bias_relu_pool2d, conv_relu_pool2d

__all__ = ["FusedSequential", "chains", "is_watched", "run_chain"]


class FusedSequential(nn.Sequential):
    """:class:`torch.nn.Sequential` that computes some chains of its layers in one pass over the map that is pooled.

    ``BatchNorm2d, ReLU, MaxPool2d`` runs as :func:`wwae.ops.batch_norm_relu_pool2d`; ``Conv2d, ReLU, MaxPool2d`` as
    :func:`wwae.ops.conv_relu_pool2d`, or, where it pads with something else than the same number of zeros on opposite sides, as the
    convolution without its bias and :func:`wwae.ops.bias_relu_pool2d`. The full-resolution maps between the layers are not kept for
    backward. The pooling has to be :class:`wwae.nn.MaxPool2d` without indices, or :class:`wwae.nn.SwitchPool2d`.

    The layers stay what they are, under their names and with their state dict, and chains are looked for in each call. So a slice
    that ends within a chain, a layer that is called by itself, a layer that is exchanged (``convert_sync_batchnorm``), and a layer
    with a hook, which is to see its input and output, all compute what they say. Sequentials inside are looked into.

    Numbers equal those of the single layers to the rounding of the batch normalisation or of the convolution's sums, switches where
    taps differ by more than that.
    """

    def forward(self, input: Any) -> Any:
        if isinstance(input, torch.fx.Proxy):
            return super().forward(input)  # a symbolic trace shows the layers, as that of any Sequential
        for layers in chains(self):
            if len(layers) == 1:
                input = layers[0](input)
            else:
                values, switches = run_chain(layers, input)
                input = (values, switches) if isinstance(layers[2], SwitchPool2d) else values
        return input

    def _get_name(self) -> str:
        return "Sequential"


def chains(
    layers: Iterable[nn.Module], pools: tuple[type[nn.MaxPool2d], ...] = (MaxPool2d, SwitchPool2d)
) -> list[tuple[nn.Module, ...]]:
    """Split layers, those of Sequentials among them included, into chains of three that run in one pass, and single layers.

    A chain ends in a pool of one of the classes ``pools``.
    """
    flat = list(_flattened(layers))
    groups: list[tuple[nn.Module, ...]] = []
    start = 0
    while start < len(flat):
        length = 3 if _is_chain(flat[start : start + 3], pools) else 1
        groups.append(tuple(flat[start : start + length]))
        start += length
    return groups


def _flattened(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        if type(layer) in (nn.Sequential, FusedSequential) and not is_watched(layer):
            yield from _flattened(layer.children())
        else:
            yield layer


def _is_chain(layers: list[nn.Module], pools: tuple[type[nn.MaxPool2d], ...]) -> bool:
    if len(layers) < 3 or type(layers[1]) is not nn.ReLU or type(layers[2]) not in pools:
        return False
    first, _, pool = layers
    if pool.return_indices and type(pool) is not SwitchPool2d:
        return False
    if type(first) is nn.Conv2d:
        return (first.bias is not None or _zero_padding(first) is not None) and not any(map(is_watched, layers))
    return type(first) is nn.BatchNorm2d and not any(map(is_watched, layers))


def _zero_padding(convolution: nn.Conv2d) -> tuple[int, int] | None:
    """The zeros that a convolution puts on each side, in height and width; None where it pads in another way."""
    if convolution.padding_mode != "zeros":
        return None
    if convolution.padding == "valid":
        return 0, 0
    if convolution.padding == "same":
        spread = [gap * (taps - 1) for gap, taps in zip(convolution.dilation, convolution.kernel_size, strict=True)]
        return None if any(zeros % 2 for zeros in spread) else (spread[0] // 2, spread[1] // 2)
    assert isinstance(convolution.padding, tuple)
    return convolution.padding[0], convolution.padding[1]


def is_watched(layer: nn.Module) -> bool:
    """Whether something is to see what goes in or out of a layer, or computes it in the layer's place."""
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    return any(hooks) or "forward" in vars(layer) or (not torch.compiler.is_compiling() and _has_any_global_hook())


def run_chain(layers: tuple[nn.Module, ...], input: Tensor) -> tuple[Tensor, Switches]:
    """Values and switches of a chain of three."""
    first, _relu, pool = layers
    assert isinstance(pool, nn.MaxPool2d)
    if isinstance(first, nn.BatchNorm2d):
        first._check_input_dim(input)
        return normalised_relu_pool(first, pool, input)
    assert isinstance(first, nn.Conv2d)
    window = pool.kernel_size, pool.stride, pool.padding, pool.dilation, pool.ceil_mode
    padding = _zero_padding(first)
    if padding is not None:
        return conv_relu_pool2d(input, first.weight, first.bias, *window, first.stride, padding, first.dilation, first.groups)
    assert first.bias is not None
    return bias_relu_pool2d(first._conv_forward(input, first.weight, None), first.bias, *window)
