"""The objective of a stacked what-where auto-encoder.

Zhao, Mathieu, Goroshin, LeCun: Stacked What-Where Auto-encoders (2015, arXiv:1506.02351), eq. 1 and 2, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from wwae.models import SWWAE
from wwae.training.configuration import LossConfiguration

__all__ = ["LossTerms", "reconstruction_distance", "swwae_loss"]


class LossTerms(NamedTuple):
    """The terms of eq. 1, each a scalar, before their weights; None where the mode leaves the term out."""

    total: Tensor
    nll: Tensor | None
    reconstruction: Tensor | None
    middle: Tensor | None


def swwae_loss(model: SWWAE, images: Tensor, labels: Tensor | None, loss: LossConfiguration) -> LossTerms:
    """Compute eq. 1, L = L_NLL + lambda_L2rec L_L2rec + lambda_L2M L_L2M, for a batch.

    L_NLL is the mean over the labelled images, L_L2rec and L_L2M are means over all images; L_L2M is the sum of its
    terms, one for each middle map of the model. The three modes of section 3.2:

    - supervised: L_NLL alone; the decoder is not run.
    - unsupervised: the two reconstruction terms alone; the classifier gets no gradient.
    - semi-supervised: all terms.

    Args:
        model (SWWAE): the network.
        images (Tensor[N, C, H, W], float32): the labelled images first, then the unlabelled ones.
        labels (Tensor[L], int64 | None): classes of the first L images; None in unsupervised mode.
        loss (LossConfiguration): mode, weights and form of the reconstruction terms.

    Raises:
        ValueError: labels are missing in a mode that learns from them.
    """
    if loss.mode == "unsupervised":
        labels = None
    elif labels is None:
        raise ValueError(f"swwae_loss: expected labels in {loss.mode} mode, got None")
    if loss.mode == "supervised" and labels is not None:
        nll = F.cross_entropy(model.classify(images[: len(labels)]).float(), labels)
        return LossTerms(nll, nll, None, None)

    output = model(images)
    reconstruction = reconstruction_distance(output.reconstruction, images, loss.form)
    middle = reconstruction.new_zeros(())
    for decoder_map, encoder_map in zip(output.decoder_maps, output.encoder_maps, strict=True):
        middle = middle + reconstruction_distance(decoder_map, encoder_map, loss.form)
    total = loss.reconstruction * reconstruction + loss.middle * middle
    if labels is None:
        return LossTerms(total, None, reconstruction, middle)
    if output.logits is None:
        raise ValueError(f"swwae_loss: expected an architecture with fc layers in {loss.mode} mode")
    nll = F.cross_entropy(output.logits[: len(labels)].float(), labels)
    return LossTerms(nll + total, nll, reconstruction, middle)


def reconstruction_distance(reconstruction: Tensor, target: Tensor, form: str) -> Tensor:
    """Return the distance between two batches of maps as a float32 scalar.

    ``"mse"`` is the squared error averaged over all elements. ``"l2"`` is eq. 2 as it is printed: the norm, not
    squared, of each image's error, averaged over the images; its gradient is 0 where an error is exactly 0.
    """
    error = reconstruction.float() - target.float()
    if form == "mse":
        return error.square().mean()
    return error.flatten(1).norm(dim=1).mean()
