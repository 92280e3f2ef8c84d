"""A stage that trains the decoders of a frozen classifier, and what its checkpoint holds of the two."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from wwae.training.stage_fit import StageFit

__all__ = ["DecoderFit", "weights_digest", "with_decoders"]

_CLASSIFIER = "classifier."


class DecoderFit(StageFit):
    """A stage of an inversion, whose state has the decoders and, in place of the classifier, the digest of its weights.

    The state of a finished stage is without the optimiser's, which nothing reads again.

    Args:
        encoder_digest (str): :func:`weights_digest` of the frozen classifier; the others are those of :class:`StageFit`.
    """

    def __init__(self, *arguments: Any, encoder_digest: str, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.encoder_digest = encoder_digest

    def state(self) -> dict[str, Any]:
        state = super().state()
        state["model"] = {name: value for name, value in state["model"].items() if not name.startswith(_CLASSIFIER)}
        state["encoder_digest"] = self.encoder_digest
        if self.step == self.steps:
            del state["optimizer"]
        return state

    def restore(self, state: dict[str, Any]) -> None:
        whole = with_decoders(self.model, state, self.encoder_digest)
        super().restore({"optimizer": self.optimizer.state_dict()} | state | {"model": whole})


def with_decoders(model: nn.Module, state: Mapping[str, Any], encoder_digest: str) -> dict[str, Tensor]:
    """Return the state dict of an augmented classifier with the decoders of another :meth:`DecoderFit.state`.

    Decoders that ``model`` has not are left out; one that the state has not is missing in the result.

    Args:
        model (nn.Module): an :class:`wwae.models.AugmentedClassifier`.
        state (mapping): of the same stage, or of one that goes as far up.
        encoder_digest (str): :func:`weights_digest` of the classifier of ``model``.

    Raises:
        ValueError: the state is of a classifier with other weights.
    """
    if state["encoder_digest"] != encoder_digest:
        raise ValueError("its decoders were trained for a classifier with other weights")
    own = model.state_dict()
    decoders = {name: value for name, value in state["model"].items() if name in own}
    return {name: value for name, value in own.items() if name.startswith(_CLASSIFIER)} | decoders


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state dict, names and values, in hexadecimal."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
