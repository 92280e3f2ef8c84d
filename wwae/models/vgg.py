"""VGG networks of Simonyan and Zisserman (2014, arXiv:1409.1556), augmented as by Zhang et al. (2016, arXiv:1606.06582), by name.

``vgg{11,13,16,19}[_bn]_{sae,swwae}_{first,all,layerwise}``: SAE unpools to fixed places, SWWAE to where the maxima stood. The
paper's six are those of VGG-16. They take the network from torchvision.
"""

from __future__ import annotations

import itertools
from typing import Any, Protocol

from wwae.models.augment import AugmentedClassifier, Variant, augment
from wwae.models.decoder import SwitchKind

__all__ = ["AUGMENTED_VGGS"]

_DEPTHS = ("vgg11", "vgg13", "vgg16", "vgg19")
_SWITCHES: dict[str, SwitchKind] = {"sae": "fixed", "swwae": "known"}
_VARIANTS: tuple[Variant, ...] = ("first", "all", "layerwise")


class Builder(Protocol):
    """What each name of this module is."""

    __name__: str

    def __call__(self, from_layer: str | int = "last", **vgg: Any) -> AugmentedClassifier: ...


def _builder(network: str, family: str, variant: Variant) -> Builder:
    def build(from_layer: str | int = "last", **vgg: Any) -> AugmentedClassifier:
        try:
            from torchvision.models import get_model
        except ImportError as error:
            raise ImportError(f"{name} takes its network from torchvision: pip install torchvision") from error
        return augment(get_model(network, **vgg), variant, _SWITCHES[family], from_layer)

    name = f"{network}_{family}_{variant}"
    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"""torchvision's ``{network}`` as {family.upper()}-{variant} (Zhang et al. 2016, arXiv:1606.06582).

    Args:
        from_layer (str | int): where decoding starts, as for :func:`wwae.models.augment`. Default: ``"last"``, that is ``"pool5"``.
        **vgg: for ``torchvision.models.{network}``, such as ``weights="IMAGENET1K_V1"`` or ``num_classes=10``.

    Returns:
        AugmentedClassifier.

    Raises:
        ImportError: torchvision is not installed.
    """
    return build


AUGMENTED_VGGS: dict[str, Builder] = {
    f"{depth}{norm}_{family}_{variant}": _builder(f"{depth}{norm}", family, variant)
    for depth, norm, family, variant in itertools.product(_DEPTHS, ("", "_bn"), _SWITCHES, _VARIANTS)
}
"""Every builder by its name."""

globals().update(AUGMENTED_VGGS)
__all__ += [*AUGMENTED_VGGS]
