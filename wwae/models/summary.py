"""An augmented classifier as a table."""

from __future__ import annotations

from torch import nn

from wwae.models.alexnet import AlexNetInversion
from wwae.models.augment import AugmentedClassifier
from wwae.models.macro_layers import MacroLayer

__all__ = ["summarise"]

_HEADER = ("macro-layer", "ends in", "channels", "convolutions", "parameters", "decoder", "reconstructs", "switches")
_NUMBERS = frozenset({"convolutions", "parameters", "decoder"})


def summarise(model: AugmentedClassifier) -> str:
    """Return a table of the macro-layers, the nearest to the images first.

    It says what each is, what it reconstructs, and where its switches come from. ``parameters`` counts those of the macro-layer,
    ``decoder`` those of its mirror.

    Example:
        >>> layers = [torch.nn.Conv2d(3, 4, 3), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4, 2)]
        >>> print(summarise(augment(torch.nn.Sequential(*layers))))
        macro-layer  ends in  channels  convolutions  parameters  decoder  reconstructs  switches
        pool1        1        3 -> 4               1         112      111  image         1, 2x2 stride 2
        the rest                                              10
        total                                                122      111
    """
    rows = [_HEADER]
    rest = set(model.classifier.parameters())
    for number, (layer, decoder) in enumerate(zip(model.macro_layers, model.decoders, strict=True)):
        inside = _parameters(layer, model.classifier)
        rest -= inside
        below = "image" if number == 0 else model.macro_layers[number - 1].name
        rows.append(
            (
                layer.name,
                layer.operations[-1].place,
                f"{layer.channels[0]} -> {layer.channels[-1]}",
                str(len(layer.convolutions)),
                _count(inside),
                _count(set(decoder.parameters())),
                below if number == 0 or model.variant != "first" else "-",
                _switches(layer, model.switches),
            )
        )
    if isinstance(model, AlexNetInversion):
        for number, (name, decoder) in enumerate(model.inner_products.items(), start=len(model.macro_layers)):
            place, module = model.mirrored_inner_products[name]
            inside = set(module.parameters())
            rest -= inside
            sizes = f"{module.in_features} -> {module.out_features}"
            below = model.layer_names[number - 1] if model.variant != "first" else "-"
            rows.append((name, place, sizes, "0", _count(inside), _count(set(decoder.parameters())), below, "-"))
    rows.append(("the rest", "", "", "", _count(rest), "", "", ""))
    classifier = set(model.classifier.parameters())
    totals = _count(classifier), _count(set(model.parameters()) - classifier)
    rows.append(("total", "", "", "", *totals, "", ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return "\n".join("  ".join(_padded(*each) for each in zip(row, widths, _HEADER, strict=True)).rstrip() for row in rows)


def _padded(cell: str, width: int, column: str) -> str:
    return cell.rjust(width) if column in _NUMBERS else cell.ljust(width)


def _parameters(layer: MacroLayer, classifier: nn.Module) -> set[nn.Parameter]:
    modules = {operation.module for operation in layer.operations if operation.module is not None}
    return {parameter for name in modules for parameter in classifier.get_submodule(name).parameters()}


def _count(parameters: set[nn.Parameter]) -> str:
    return f"{sum(parameter.numel() for parameter in parameters):,}"


def _switches(layer: MacroLayer, switches: str) -> str:
    """Where those of each pool come from; a stage of strided convolutions has none."""
    routes = []
    for position in layer.pools:
        operation = layer.operations[position]
        (height, width), stride = operation.detail.kernel_size, operation.detail.stride
        step = str(stride[0]) if stride[0] == stride[1] else "x".join(map(str, stride))
        source = operation.place if switches == "known" else f"fixed at ({height // 2}, {width // 2})"
        routes.append(f"{source}, {height}x{width} stride {step}")
    return "; ".join(routes) or "-"
