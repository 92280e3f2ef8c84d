"""Imports go one way: cli, recipes and data, training, models, nn, ops, reference."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each layer, and the layers it may import.
ALLOWED = {
    "reference": set(),
    "ops": {"reference"},
    "nn": {"ops", "reference"},
    "models": {"nn", "ops", "reference"},
    "training": {"models", "nn", "ops", "reference"},
    "data": {"training"},
    "recipes": {"training", "data", "models", "nn", "ops", "reference"},
    "cli": {"recipes", "training", "data", "models", "nn", "ops", "reference"},
    "triton_kernels": {"reference"},
}


def imported_layers(source: str, layers: set[str]) -> set[str]:
    """The layers of `wwae` that a module imports, at its top or inside a function.

    A relative import of one dot stays in its layer; more dots are refused.
    """
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1, "an import from another layer is absolute"
    parts = [name.split(".") for name in names]
    return {part[1] for part in parts if len(part) > 1 and part[0] == "wwae" and part[1] in layers}


def modules(layer: str) -> list[Path]:
    folder = ROOT / layer if layer == "triton_kernels" else ROOT / "wwae" / layer
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("layer", ALLOWED)
def test_a_layer_imports_only_layers_below(layer):
    files = modules(layer)
    assert files, f"no modules were found in {layer}"
    for path in files:
        back = imported_layers(path.read_text(), set(ALLOWED)) - ALLOWED[layer] - {layer}
        assert not back, f"{path.relative_to(ROOT)} imports {', '.join(sorted(back))}"


def test_every_package_is_a_layer():
    packages = {path.parent.name for path in (ROOT / "wwae").glob("*/__init__.py")}
    assert packages == set(ALLOWED) - {"triton_kernels"}


def test_a_step_back_is_seen():
    layers = set(ALLOWED)
    assert imported_layers("def f():\n    from wwae.training import train", layers) == {"training"}
    assert imported_layers("from wwae import nn", layers) == {"nn"}
    assert imported_layers("import wwae.cli.train", layers) == {"cli"}
