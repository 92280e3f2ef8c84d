"""Classifiers as fully convolutional networks: the dense evaluation of Simonyan and Zisserman (2014, arXiv:1409.1556), section 3.2,
which is the second protocol of Zhang et al. (2016, arXiv:1606.06582), section 4.3.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Graph, GraphModule, Node

from wwae.models.augment import AugmentedClassifier
from wwae.models.classifier_graph import read_call, read_module, trace
from wwae.ops._arguments import pair
from wwae.reference.window import Pair

__all__ = ["fully_convolutional"]

_WHO = "fully_convolutional"
_SOFTMAX = (F.softmax, F.log_softmax, torch.softmax, torch.log_softmax, "softmax", "log_softmax")


def fully_convolutional(classifier: nn.Module) -> nn.Module:
    """Turn the inner products of a classifier into convolutions, so that it takes images of any size from its native one on.

    The first inner product becomes a convolution over the extent of the map that was flattened, the others become 1x1 convolutions;
    the scores are averaged over the grid of places where the classifier fits. An adaptive pooling to that extent, such as VGG's to
    7x7, is left out: at the native size it changes nothing, and the scores equal those of the classifier to the rounding of their
    sums. A network that pools its maps to one element takes any size already, and stays as it is.

    Args:
        classifier (nn.Module): traceable with ``torch.fx``; an :class:`wwae.models.AugmentedClassifier` stands for its classifier.

    Returns:
        nn.Module in evaluation mode, for evaluation: images (N, C, H, W) to scores (N, classes). It shares the weights of
        ``classifier``, which is not changed.

    Raises:
        TypeError: ``classifier`` is no module.
        ValueError: it can't be traced, or what follows its flattening is more than inner products, nonlinearities, dropout and a
            softmax; the message names the module and says what to do.

    Example:
        >>> layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 6 * 6, 10)]
        >>> dense = wwae.models.fully_convolutional(torch.nn.Sequential(*layers))
        >>> dense(torch.rand(2, 3, 8, 8)).shape, dense(torch.rand(2, 3, 12, 9)).shape
        (torch.Size([2, 10]), torch.Size([2, 10]))
    """
    if not isinstance(classifier, nn.Module):
        raise TypeError(f"{_WHO}: expected classifier to be a torch.nn.Module, got {type(classifier).__name__}")
    if isinstance(classifier, AugmentedClassifier):
        classifier = classifier.classifier
    root, graph = trace(classifier, _WHO)
    flattening = next((node for node in graph.nodes if _flattens(node, root)), None)
    if flattening is None or not any(isinstance(_module(node, root), nn.Linear) for node in _after(flattening, graph)):
        return root
    before, extent = _pooled_map(flattening, root)
    if extent == (1, 1):
        return root
    scores = None
    for node in _after(flattening, graph):
        module = _module(node, root)
        if isinstance(module, nn.Linear):
            window = (1, 1) if scores is not None else extent or _square_extent(before, node, module, root)
            root.set_submodule(str(node.target), _convolution(module, window))
            scores = node
        elif not _is_elementwise(node, module) and not (scores is not None and _is_softmax(node, module)):
            raise ValueError(
                f"{_WHO}: {_place(node)} comes after the flattening and is no inner product, nonlinearity, dropout or softmax over "
                "the classes; give a network that ends in these"
            )
    assert scores is not None
    flattening.replace_all_uses_with(before)
    with graph.inserting_after(scores):
        mean = graph.call_method("mean", (scores, (2, 3)))
    scores.replace_all_uses_with(mean, delete_user_cb=lambda user: user is not mean)
    dense = GraphModule(root, graph, f"FullyConvolutional{type(classifier).__name__}")
    dense.graph.eliminate_dead_code()
    dense.delete_all_unused_submodules()
    dense.recompile()
    return dense.eval()


def _module(node: Node, root: nn.Module) -> nn.Module | None:
    return root.get_submodule(str(node.target)) if node.op == "call_module" else None


def _flattens(node: Node, root: nn.Module) -> bool:
    """Whether a node turns (N, C, H, W) into (N, C * H * W)."""
    module = _module(node, root)
    if isinstance(module, nn.Flatten):
        return (module.start_dim, module.end_dim) == (1, -1)
    if node.target in (torch.flatten, "flatten"):
        return [*node.args[1:], *node.kwargs.values()] in ([1], [1, -1])
    return node.target in ("view", "reshape", torch.reshape) and len(_sizes(node)) == 2


def _sizes(node: Node) -> tuple[Any, ...]:
    sizes = node.args[1:]
    return tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes


def _after(flattening: Node, graph: Graph) -> list[Node]:
    """What depends on the flattened map, in order, but for the output."""
    reached = {flattening}
    for node in graph.nodes:
        if any(each in reached for each in node.all_input_nodes):
            reached.add(node)
    return [node for node in graph.nodes if node in reached and node is not flattening and node.op != "output"]


def _pooled_map(flattening: Node, root: nn.Module) -> tuple[Node, Pair | None]:
    """The map to convolve in place of the flattened one, and its native extent; None where no adaptive pooling says it."""
    node: Any = flattening.args[0]
    while isinstance(_module(node, root), (nn.Dropout, nn.Dropout2d, nn.Identity)):
        node = node.args[0]
    module = _module(node, root)
    if isinstance(module, (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)):
        size: Any = module.output_size
    elif node.target in (F.adaptive_avg_pool2d, F.adaptive_max_pool2d):
        size = node.args[1] if len(node.args) > 1 else node.kwargs["output_size"]
    else:
        return node, None
    return node.args[0], pair(_WHO, "output_size", size)


def _square_extent(before: Node, first: Node, linear: nn.Linear, root: nn.Module) -> Pair:
    node: Any = before
    channels = None
    while channels is None and isinstance(node, Node) and node.all_input_nodes:
        module = _module(node, root)
        channels = module.out_channels if isinstance(module, nn.Conv2d) else None
        if node.target is torch.cat:
            break
        node = node.all_input_nodes[0]
    side = math.isqrt(linear.in_features // channels) if channels else 0
    if channels is None or side * side * channels != linear.in_features:
        raise ValueError(
            f"{_WHO}: {_place(first)} reads {linear.in_features} numbers of a map with {channels or 'unknown'} channels, so its "
            "height and width are not known; put torch.nn.AdaptiveAvgPool2d((height, width)) before the flattening"
        )
    return side, side


def _convolution(linear: nn.Linear, extent: Pair) -> nn.Conv2d:
    channels = linear.in_features // (extent[0] * extent[1])
    convolution = nn.Conv2d(channels, linear.out_features, extent, bias=linear.bias is not None, device="meta")
    weight = linear.weight.detach().view(linear.out_features, channels, *extent)
    convolution.weight = nn.Parameter(weight, requires_grad=linear.weight.requires_grad)
    convolution.bias = linear.bias
    return convolution


def _is_elementwise(node: Node, module: nn.Module | None) -> bool:
    if module is not None:
        return read_module(module)[0] in ("activation", "dropout", "keep")
    return read_call(node, 1)[0] in ("activation", "dropout", "keep")


def _is_softmax(node: Node, module: nn.Module | None) -> bool:
    if module is not None:
        return isinstance(module, (nn.Softmax, nn.LogSoftmax))
    return node.target in _SOFTMAX


def _place(node: Node) -> str:
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    return name if node.op == "call_module" else f"{name} in the model's forward"
