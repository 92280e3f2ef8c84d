"""What a classifier computes, as far as a decoder can mirror it: its forward as a list of a few kinds of operations.

The classifier is traced with ``torch.fx`` and never replaced: it runs as it is, and the list says what its modules and calls mean.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Graph, Node

from wwae.nn import MaxPool2d
from wwae.ops._arguments import pair, pool_arguments
from wwae.reference.window import Pair, pooled_sizes

__all__ = ["Convolution", "Operation", "Window", "read_call", "read_classifier", "read_module", "trace"]

Kind = Literal["input", "convolution", "pool", "activation", "add", "cat", "keep", "normalise", "dropout", "other"]

_ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish,
    nn.Hardtanh, nn.Softplus, nn.Sigmoid, nn.Tanh,
)  # fmt: skip
_ACTIVATION_CALLS: dict[Any, Callable[[], nn.Module]] = {
    F.relu: nn.ReLU, F.relu_: nn.ReLU, torch.relu: nn.ReLU, torch.relu_: nn.ReLU, "relu": nn.ReLU, "relu_": nn.ReLU,
    F.relu6: nn.ReLU6, F.elu: nn.ELU, F.selu: nn.SELU, F.gelu: nn.GELU, F.silu: nn.SiLU, F.mish: nn.Mish,
    F.hardswish: nn.Hardswish, F.softplus: nn.Softplus, F.sigmoid: nn.Sigmoid, torch.sigmoid: nn.Sigmoid,
    F.tanh: nn.Tanh, torch.tanh: nn.Tanh, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh,
}  # fmt: skip
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_DROPOUT_CALLS = (F.dropout, F.dropout1d, F.dropout2d, F.alpha_dropout, F.feature_alpha_dropout)
_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.InstanceNorm2d, nn.LocalResponseNorm)
_NORM_CALLS = (F.batch_norm, F.group_norm, F.instance_norm, F.local_response_norm)
_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
_SCALINGS = (
    operator.sub, operator.isub, operator.mul, operator.imul, operator.truediv, operator.itruediv, operator.neg,
    torch.sub, torch.mul, torch.div, torch.neg, "sub", "sub_", "mul", "mul_", "div", "div_", "neg",
)  # fmt: skip
_IN_PLACE = (operator.iadd, operator.isub, operator.imul, operator.itruediv)
_KEPT = ("contiguous", "clone", "float", "half", "double", "bfloat16", "to", torch.clone)
_POOLS = (nn.MaxPool2d, MaxPool2d)
_POOL_CALLS = (F.max_pool2d, torch.max_pool2d)


@dataclass(frozen=True)
class Window:
    """The windows of a max pool."""

    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool

    def output_size(self, size: Pair) -> Pair:
        """Height and width of the pooled map."""
        return pooled_sizes(size, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


@dataclass(frozen=True)
class Convolution:
    """What a decoder has to know of a convolution."""

    in_channels: int
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Pair
    """At the top and the left; with ``same`` and an even kernel there is one more at the other sides."""
    same: bool
    dilation: Pair
    groups: int
    device: torch.device
    dtype: torch.dtype

    def output_size(self, size: Pair) -> Pair:
        """Height and width of the convolved map."""
        if self.same:
            return size
        return pooled_sizes(size, self.kernel_size, self.stride, self.padding, self.dilation, ceil_mode=False)


@dataclass(frozen=True)
class Operation:
    """One step from the images to the scores.

    Attributes:
        kind (str): ``"keep"`` changes no number that matters to a decoder, ``"normalise"`` any number but no shape, and
            ``"other"`` can't be mirrored.
        place (str): the module, or the call and the module whose forward makes it.
        inputs (tuple[int, ...]): positions in the list of what it reads.
        detail: a :class:`Convolution`, a :class:`Window`, or an activation module to copy; None for the other kinds.
        module (str | None): the module that is called; None for a function.
        call (int): how many calls of that module, or of any max-pooling function, come before.
        scopes (tuple[str, ...]): the modules that it is a part of, outermost first.
        in_place (bool): it writes into what it reads.
    """

    kind: Kind
    place: str
    inputs: tuple[int, ...]
    detail: Any = None
    module: str | None = None
    call: int = 0
    scopes: tuple[str, ...] = ()
    in_place: bool = False


def read_classifier(classifier: nn.Module, who: str) -> list[Operation]:
    """List what is done to the images on their way to the scores, in the order of the calls; the images themselves come first.

    Raises:
        ValueError: the classifier can't be traced; ``who`` opens the message.
    """
    root, graph = trace(classifier, who)
    earlier_calls: dict[Any, int] = {}
    calls: dict[Node, int] = {}
    for node in graph.nodes:
        called = "max pooling" if node.target in _POOL_CALLS else (node.op, str(node.target))
        calls[node] = earlier_calls.get(called, 0)
        earlier_calls[called] = calls[node] + 1
    nodes = _between_images_and_scores(graph)
    positions = {node: position for position, node in enumerate(nodes)}
    return [_operation(node, root, calls[node], positions) for node in nodes]


def trace(classifier: nn.Module, who: str) -> tuple[nn.Module, Graph]:
    """Trace a classifier in evaluation mode; it, its random numbers and its hooks don't notice.

    Returns:
        root (nn.Module): a copy that shares the parameters and buffers.
        graph (torch.fx.Graph): of the copy.

    Raises:
        ValueError: the classifier can't be traced; ``who`` opens the message.
    """
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*classifier.parameters(), *classifier.buffers())}
    try:
        root = copy.deepcopy(classifier, shared).eval()
        with torch.random.fork_rng(devices=[]):
            return root, _Tracer().trace(root)
    except Exception as error:  # forward is any code at all, and symbols in the place of tensors may break it in any way
        first_line = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"{who}: {type(classifier).__name__} cannot be traced with torch.fx ({type(error).__name__}: {first_line[:160]}); "
            "its forward must not branch on values or sizes of tensors"
        ) from error


class _Tracer(torch.fx.Tracer):
    """Every pool is one node, and hooks don't run, as they are to see no symbols."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.MaxPool2d) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super().call_module(m, m.forward, args, kwargs)


def _between_images_and_scores(graph: Graph) -> list[Node]:
    """The nodes that the first argument of forward reaches and that reach its result."""
    nodes = list(graph.nodes)
    needed: set[Node] = {node for node in nodes if node.op == "output"}
    for node in reversed(nodes):
        if node in needed:
            needed.update(node.all_input_nodes)
    reached: list[Node] = [next(node for node in nodes if node.op == "placeholder")]
    for node in nodes:
        if node in needed and node.op != "output" and any(each in reached for each in node.all_input_nodes):
            reached.append(node)
    return reached


def _operation(node: Node, root: nn.Module, call: int, positions: dict[Node, int]) -> Operation:
    inputs = tuple(positions[each] for each in node.all_input_nodes if each in positions)
    scopes = tuple(str(scope) for scope in node.meta.get("nn_module_stack") or {} if scope)
    if node.op == "call_module":
        module = root.get_submodule(str(node.target))
        kind, detail = read_module(module)
        in_place = bool(getattr(module, "inplace", False))
        return Operation(kind, str(node.target), inputs, detail, str(node.target), call, scopes, in_place)
    kind, detail = ("input", None) if node.op == "placeholder" else read_call(node, len(inputs))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    function = "max_pool2d" if node.target in _POOL_CALLS else name
    place = f"{function} in {scopes[-1]}" if scopes else f"{function} in the model's forward"
    in_place = bool(node.kwargs.get("inplace")) or function.endswith("_") or node.target in _IN_PLACE
    return Operation(kind, place, inputs, detail, None, call, scopes, in_place)


def read_module(module: nn.Module) -> tuple[Kind, Any]:
    """The kind of operation that a module is, and its detail."""
    if isinstance(module, nn.Conv2d) and not isinstance(module.weight, nn.parameter.UninitializedParameter):
        return "convolution", _convolution(module)
    if isinstance(module, nn.MaxPool2d) and type(module) in _POOLS and not module.return_indices and "forward" not in vars(module):
        window = pool_arguments("augment", module.kernel_size, module.stride, module.padding, module.dilation)
        return "pool", Window(*window, module.ceil_mode)
    if isinstance(module, _ACTIVATIONS):
        activation = copy.deepcopy(module)
        if hasattr(activation, "inplace"):
            activation.inplace = False  # gradients of the decoder's sums need the values that go in
        return "activation", activation
    if isinstance(module, nn.AvgPool2d) and _keeps_size(module.kernel_size, module.stride, module.padding):
        return "normalise", None
    kinds: tuple[tuple[Kind, Any], ...] = (("dropout", _DROPOUTS), ("normalise", _NORMS), ("keep", nn.Identity))
    return next((kind for kind, classes in kinds if isinstance(module, classes)), "other"), None


def read_call(node: Node, data_inputs: int) -> tuple[Kind, Any]:
    """The kind of operation that a call of a function or method is, and its detail; ``data_inputs`` of its arguments are maps."""
    target: Any = node.target
    if target in _ACTIVATION_CALLS:
        return "activation", _ACTIVATION_CALLS[target]()
    if target is F.leaky_relu:
        return "activation", nn.LeakyReLU(_argument(node, 1, "negative_slope", 0.01))
    if target in _POOL_CALLS:
        sizes = [_argument(node, i, name, default) for i, (name, default) in enumerate(_POOL_ARGUMENTS, start=1)]
        return "pool", Window(*pool_arguments("augment", *sizes[:4]), sizes[4])
    if target is torch.cat:
        distinct = len(_argument(node, 0, "tensors", ())) == data_inputs
        return ("cat", None) if distinct and _argument(node, 1, "dim", 0) in (1, -3) else ("other", None)
    if target in _ADDITIONS and data_inputs == 2:
        return ("add", None) if _argument(node, 2, "alpha", 1) == 1 else ("other", None)
    if target in (*_ADDITIONS, *_SCALINGS) and data_inputs == 1:
        return "normalise", None
    averages = (F.avg_pool2d, torch._C._nn.avg_pool2d)
    if target in averages and _keeps_size(*(_argument(node, i + 1, name, default) for i, (name, default) in enumerate(_AVERAGE))):
        return "normalise", None
    kinds: tuple[tuple[Kind, Any], ...] = (("dropout", _DROPOUT_CALLS), ("normalise", _NORM_CALLS), ("keep", _KEPT))
    return next((kind for kind, targets in kinds if target in targets), "other"), None


_POOL_ARGUMENTS = (("kernel_size", None), ("stride", None), ("padding", 0), ("dilation", 1), ("ceil_mode", False))
_AVERAGE = (("kernel_size", None), ("stride", None), ("padding", 0))


def _argument(node: Node, position: int, name: str, default: Any) -> Any:
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def _keeps_size(kernel_size: Any, stride: Any, padding: Any) -> bool:
    kernel, steps, pads, _ = pool_arguments("augment", kernel_size, stride, padding, 1)
    return steps == (1, 1) and all(2 * pad == extent - 1 for pad, extent in zip(pads, kernel, strict=True))


def _convolution(module: nn.Conv2d) -> Convolution:
    kernel, stride, dilation = (
        pair("augment", "kernel_size", each) for each in (module.kernel_size, module.stride, module.dilation)
    )
    if isinstance(module.padding, str):
        same = module.padding == "same"
        extents = [gap * (extent - 1) if same else 0 for gap, extent in zip(dilation, kernel, strict=True)]
        padding = (extents[0] // 2, extents[1] // 2)
    else:
        same, padding = False, pair("augment", "padding", module.padding)
    weight = module.weight
    channels = module.in_channels, module.out_channels
    return Convolution(*channels, kernel, stride, padding, same, dilation, module.groups, weight.device, weight.dtype)
