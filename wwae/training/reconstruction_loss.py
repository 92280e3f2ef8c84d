"""The unsupervised objective of an augmented classifier.

Zhang, Lee and Lee (2016, arXiv:1606.06582), eq. 2 and section 3.2: ``U(x) = sum_l gamma_l ||â_l - a_l||^2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from wwae.models import AugmentedOutput

__all__ = ["TABLE_A1", "Balance", "ReconstructionLoss"]

Balance = Literal["caffe", "auto"]

TABLE_A1 = (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
"""Loss weights of the paper's Table A-1, one for each macro-layer of VGG: the first belongs to the images, the others to pool1 to
pool4. They fit features of the scale that VGG has in Caffe's model zoo (torchvision: ``IMAGENET1K_FEATURES``)."""


class ReconstructionLoss(nn.Module):
    """``sum_i gamma_i / (2 N) sum (reconstruction_i - target_i)^2`` over all elements of a batch of N images.

    As in the paper the squares are not divided by the number of elements (appendix A1). Neither side is detached. The
    classification loss is the caller's: eq. 2 is ``cross_entropy(output.logits, labels) + lambda * loss(output)``. Sums are
    taken in float32 at least.

    Args:
        balance (str | None): where the weights ``gamma_i`` come from. ``"caffe"``: the paper's Table A-1. ``"auto"``: from the
            first batch, such that every layer's weighted loss there equals that of the images, whose weight is 1: the criterion of
            section 4.1, that they be comparable. They stay as they are then, and are part of the state dict. None: ``weights``, or
            1 for every layer.
        weights (sequence of float | None): ``gamma_0``, that of the images, and so on; only without ``balance``.

    Raises:
        ValueError: for another balance, balance and weights together, a weight below 0 or not finite.

    Example:
        >>> output = wwae.models.AugmentedOutput(None, (torch.zeros(2, 1, 1, 3),), (torch.ones(2, 1, 1, 3),))
        >>> wwae.training.ReconstructionLoss()(output).item()  # 6 / (2 * 2)
        1.5
    """

    def __init__(self, balance: Balance | None = None, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        if balance not in (None, "caffe", "auto"):
            raise ValueError(f"ReconstructionLoss: expected balance to be 'caffe', 'auto' or None, got {balance!r}")
        if balance is not None and weights is not None:
            raise ValueError(
                f"ReconstructionLoss: expected balance or weights, got balance={balance!r} and weights={list(weights)}"
            )
        if weights is not None and not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise ValueError(f"ReconstructionLoss: expected weights that are finite and at least 0, got {list(weights)}")
        self.balance = balance
        self.weights: tuple[float, ...] | None = None if weights is None else tuple(float(weight) for weight in weights)
        """``gamma_i``; with ``"auto"`` None until the first batch has set them."""
        if balance == "caffe":
            self.weights = TABLE_A1

    def forward(self, output: AugmentedOutput) -> Tensor:
        """Return the weighted sum, a scalar.

        Raises:
            ValueError: there are fewer weights than reconstructions, or more were given, or with ``"auto"`` a layer's first loss is
                0 or not finite.
        """
        return self.weighted(self.terms(output))

    def weighted(self, terms: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of :meth:`terms`, as :meth:`forward`."""
        if self.weights is None and self.balance == "auto":
            self.weights = _comparable([term.item() for term in terms])
        weights = (1.0,) * len(terms) if self.weights is None else self.weights
        if len(weights) < len(terms) or (len(weights) > len(terms) and self.balance is None):
            source = "Table A-1" if self.balance == "caffe" else "weights"
            raise ValueError(f"ReconstructionLoss: {source} has {len(weights)} values, but {len(terms)} maps are reconstructed")
        return torch.stack([weight * term for weight, term in zip(weights, terms, strict=False)]).sum()

    def terms(self, output: AugmentedOutput) -> tuple[Tensor, ...]:
        """Return the loss of each layer before its weight, the images' first; each a scalar."""
        return tuple(
            _half_squares(reconstruction, target)
            for reconstruction, target in zip(output.reconstructions, output.targets, strict=True)
        )

    def get_extra_state(self) -> dict[str, Any]:
        return {"weights": None if self.weights is None else list(self.weights)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.weights = None if state["weights"] is None else tuple(state["weights"])

    def extra_repr(self) -> str:
        return f"balance={self.balance!r}, weights={self.weights}"


def _half_squares(reconstruction: Tensor, target: Tensor) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(reconstruction.dtype, target.dtype), torch.float32)
    return (reconstruction.to(dtype) - target.to(dtype)).square().sum() / (2 * len(target))


def _comparable(losses: list[float]) -> tuple[float, ...]:
    for number, loss in enumerate(losses):
        if not (math.isfinite(loss) and loss > 0):
            raise ValueError(
                "ReconstructionLoss: balance='auto' needs first losses that are finite and above 0, "
                f"got {loss} for reconstruction {number}"
            )
    return tuple(losses[0] / loss for loss in losses)
