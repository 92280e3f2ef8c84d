"""The macro-layers of a classifier: Zhang, Lee and Lee (2016, arXiv:1606.06582), section 3.1 and figure 1.

``a_l = f_l(a_{l-1})`` with ``a_0`` the images. A macro-layer ends in the max pool that follows its convolutions; in a network that
shrinks its maps by strided convolutions it ends where such a convolution, or the block that holds it, begins. What comes after the
last macro-layer (adaptive pooling, flattening, dropout, inner products) stays in the classifier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import nn

from wwae.models.classifier_graph import Convolution, Operation, Window, read_classifier
from wwae.reference.window import Pair

__all__ = ["MacroLayer", "Site", "find_macro_layers", "macro_layer", "site_of"]


class Site(NamedTuple):
    """Where a running classifier shows one of its maps.

    ``"pool"``: a call of a max pool, the module of that name or, without a name, the function. ``"output"`` and ``"input"``: what a
    call of the module gives or takes. ``call`` counts the calls that come before.
    """

    kind: Literal["pool", "output", "input"]
    module: str
    call: int


@dataclass(frozen=True)
class MacroLayer:
    """One macro-layer ``f_l``.

    Attributes:
        name (str): ``"pool1"``, ``"pool2"``, ... where it ends in a max pool, else ``"stage1"``, ...; the number is ``l``.
        names (frozenset[str]): other names of it: modules that end with it.
        operations (tuple[Operation, ...]): in the classifier's order; their ``inputs`` are 0 for the macro-layer's own input and
            ``i + 1`` for the result of operation ``i``. The last result is the macro-layer's.
        channels (tuple[int, ...]): of the input and of each result.
        pools (dict[int, Site]): for each max pool among the operations, where its switches are.
        end (Site): where the result is.
        activation (nn.Module | None): the nonlinearity that its input has gone through; None for the images.
        is_overwritten (bool): whether the classifier goes on by writing into the result.
    """

    name: str
    names: frozenset[str]
    operations: tuple[Operation, ...]
    channels: tuple[int, ...]
    pools: dict[int, Site]
    end: Site
    activation: nn.Module | None
    is_overwritten: bool

    def sizes(self, size: Pair) -> list[Pair]:
        """Height and width of the input, as given, and of each result."""
        sizes = [size]
        for operation in self.operations:
            before = sizes[operation.inputs[0]]
            shrinks = isinstance(operation.detail, (Convolution, Window))
            sizes.append(operation.detail.output_size(before) if shrinks else before)
        return sizes

    @property
    def convolutions(self) -> tuple[Operation, ...]:
        """The operations that get a deconvolution."""
        return tuple(operation for operation in self.operations if operation.kind == "convolution")


def find_macro_layers(classifier: nn.Module, from_layer: str | int = "last", who: str = "augment") -> tuple[MacroLayer, ...]:
    """Find the macro-layers of a classifier up to ``from_layer``, the nearest to the images first.

    Args:
        classifier (nn.Module): traceable with ``torch.fx``; it is not changed.
        from_layer (str | int): the last macro-layer: its name (``"pool3"``), its number, or the name of the module that ends it;
            ``"last"`` takes all.
        who (str): opens each message.

    Raises:
        ValueError: the network can't be mirrored that far; the message names the module and says what to do.
    """
    operations = read_classifier(classifier, who)
    first = next((i for i, each in enumerate(operations) if each.kind == "convolution"), None)
    if first is None:
        raise ValueError(f"{who}: {type(classifier).__name__} has no torch.nn.Conv2d that its scores depend on: nothing to mirror")
    joints = _joints(operations)
    start = max(joint for joint in joints if joint < first)
    stop = next((i for i in range(start + 1, len(operations)) if operations[i].kind == "other"), len(operations))
    ends = _ends(operations, joints, start, stop)
    found = [macro_layer(operations, begin, end, number) for number, (begin, end) in enumerate(ends, start=1)]
    if from_layer != "last":
        number = _number(from_layer, found, operations, stop, who)
        found = found[:number]
    elif any(_reduces_or_looks_around(each) for each in operations[stop:]):
        raise _not_mirrored(operations[stop], found, who)
    if not found:
        raise ValueError(f"{who}: no convolution of {type(classifier).__name__} comes before {operations[stop].place}")
    for layer in found:
        if layer.end is _NOWHERE:
            raise ValueError(
                f"{who}: the map that ends {layer.name} ({layer.operations[-1].place}) goes from function to function, where it "
                "cannot be read; pass it through a module, such as torch.nn.Identity, or name an earlier from_layer"
            )
    return tuple(found)


_NOWHERE = Site("output", "", -1)


def _joints(operations: list[Operation]) -> list[int]:
    """Operations that everything after them depends on alone: no branch passes by."""
    last_use = list(range(len(operations)))
    for position, operation in enumerate(operations):
        for each in operation.inputs:
            last_use[each] = position
    joints, reach = [], 0
    for position in range(len(operations)):
        if reach <= position:
            joints.append(position)
        reach = max(reach, last_use[position])
    return joints


def _ends(operations: list[Operation], joints: list[int], start: int, stop: int) -> list[tuple[int, int]]:
    """Where each macro-layer begins, which is where the one before it ends, and where it ends."""
    trunk = [joint for joint in joints if start <= joint < stop]

    def has_convolution(begin: int, end: int) -> bool:
        return any(each.kind == "convolution" for each in operations[begin + 1 : end + 1])

    cuts = {joint for joint in trunk if operations[joint].kind == "pool"}
    for position in range(start, stop):
        detail = operations[position].detail
        if isinstance(detail, Convolution) and detail.stride != (1, 1):
            cuts.add(max(joint for joint in trunk if joint < position))
    ends: list[tuple[int, int]] = []
    begin = start
    for cut in sorted(cuts):
        if has_convolution(begin, cut):
            ends.append((begin, cut))
            begin = cut
    # Convolutions of one element after a dropout are the inner products of a classifier.
    last_feature = max((i for i in range(start, stop) if _reduces_or_looks_around(operations[i])), default=start)
    dropouts = [joint for joint in trunk if joint > last_feature and operations[joint].kind == "dropout"]
    rest = [joint for joint in trunk if joint < (dropouts[0] if dropouts else stop)]
    if rest and has_convolution(begin, rest[-1]):
        ends.append((begin, rest[-1]))
    return ends


def _reduces(operation: Operation) -> bool:
    return isinstance(operation.detail, (Convolution, Window)) and operation.detail.stride != (1, 1)


def _reduces_or_looks_around(operation: Operation) -> bool:
    """Whether a later operation is a part of the feature extractor, not of the classifier on top of it."""
    return _reduces(operation) or (operation.kind == "convolution" and operation.detail.kernel_size != (1, 1))


def macro_layer(operations: list[Operation], begin: int, end: int, number: int) -> MacroLayer:
    """The macro-layer with a number, from what follows the operation ``begin`` to the operation ``end``."""
    local = {begin: 0}
    moved: list[Operation] = []
    channels = [0]
    pools: dict[int, Site] = {}
    for position in range(begin + 1, end + 1):
        operation = operations[position]
        inputs = tuple(local[each] for each in operation.inputs)
        if operation.kind == "pool":
            pools[len(moved)] = Site("pool", operation.module or "", operation.call)
        local[position] = len(moved) + 1
        if operation.kind == "convolution" and channels[inputs[0]] == 0:
            channels[inputs[0]] = operation.detail.in_channels
        moved.append(Operation(operation.kind, operation.place, inputs, operation.detail, operation.module, operation.call))
        channels.append(_channels(operation, [channels[each] for each in inputs]))
    last = operations[end]
    following = operations[end + 1].scopes if end + 1 < len(operations) else ()
    # A module called more than once stands in the stack with "@" and a number.
    names = {scope for scope in last.scopes if scope not in following and "@" not in scope}
    name = f"pool{number}" if last.kind == "pool" else f"stage{number}"
    return MacroLayer(
        name,
        frozenset(names),
        tuple(moved),
        tuple(channels),
        pools,
        site_of(operations, end),
        _activation(operations, begin),
        is_overwritten=any(each.in_place and end in each.inputs for each in operations),
    )


def _channels(operation: Operation, before: list[int]) -> int:
    if operation.kind == "convolution":
        return operation.detail.out_channels
    return sum(before) if operation.kind == "cat" else before[0]


def site_of(operations: list[Operation], position: int) -> Site:
    """Where the result of an operation can be read."""
    operation = operations[position]
    if operation.kind == "pool":
        return Site("pool", operation.module or "", operation.call)
    if operation.module is not None:
        return Site("output", operation.module, operation.call)
    for user in operations:
        if user.module is not None and user.inputs == (position,):
            return Site("input", user.module, user.call)
    return _NOWHERE


def _activation(operations: list[Operation], position: int) -> nn.Module | None:
    """The nonlinearity whose range a map lies in."""
    operation = operations[position]
    if operation.kind == "activation":
        return operation.detail
    if operation.kind in ("pool", "keep", "dropout"):
        return _activation(operations, operation.inputs[0])
    if operation.kind == "cat":
        each = [_activation(operations, position) for position in operation.inputs]
        return each[0] if len({repr(activation) for activation in each}) == 1 else None
    return None


def _number(from_layer: str | int, found: list[MacroLayer], operations: list[Operation], stop: int, who: str) -> int:
    for number, layer in enumerate(found, start=1):
        if from_layer in (number, layer.name) or from_layer in layer.names:
            return number
    if any(_reduces_or_looks_around(each) for each in operations[stop:]):
        raise _not_mirrored(operations[stop], found, who)
    known = ", ".join(layer.name for layer in found)
    raise ValueError(f"{who}: expected from_layer to be 'last' or one of {known}, got {from_layer!r}")


def _not_mirrored(operation: Operation, found: list[MacroLayer], who: str) -> ValueError:
    remedy = f"name a from_layer below it ({', '.join(layer.name for layer in found)}), or " if found else ""
    return ValueError(
        f"{who}: {operation.place} has no mirror: the operations of a macro-layer are convolutions, max pools without indices, "
        "elementwise activations, normalisation, sums of branches and concatenation along the channels; "
        f"{remedy}write that part of the network with these"
    )
