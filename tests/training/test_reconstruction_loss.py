"""The reconstruction loss of Zhang et al. 2016, eq. 2, against sums written out by hand."""

import copy

import pytest
import torch
from torch import nn

from wwae.models import AugmentedOutput, augment
from wwae.training import ReconstructionLoss
from wwae.training.reconstruction_loss import TABLE_A1

SHAPES = [(2, 1, 4, 4), (2, 3, 2, 2), (2, 4, 1, 1), (2, 2, 1, 1), (2, 5, 1, 1)]


def output(count=3, dtype=torch.float64):
    maps = [[torch.rand(shape, dtype=dtype, requires_grad=True) for shape in SHAPES[:count]] for _ in range(2)]
    return AugmentedOutput(None, tuple(maps[0]), tuple(maps[1]))


def by_hand(reconstruction, target):
    pairs = zip(reconstruction.flatten().tolist(), target.flatten().tolist(), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) / (2 * len(target))


@pytest.mark.parametrize("weights", [None, [3.0, 0.0, 0.25]])
def test_the_weighted_sum(weights):
    maps = output()
    losses = [by_hand(*each) for each in zip(maps.reconstructions, maps.targets, strict=True)]
    loss = ReconstructionLoss(weights=weights)
    assert [term.item() for term in loss.terms(maps)] == pytest.approx(losses)
    expected = sum(weight * each for weight, each in zip(weights or [1, 1, 1], losses, strict=True))
    assert loss(maps).item() == pytest.approx(expected)


def test_table_a1():
    """Row i + 1 belongs to map i, the images first."""
    assert TABLE_A1 == (1e-4, 1e-12, 1e-12, 1e-12, 1e-10)
    maps = output(5)
    losses = [by_hand(*each) for each in zip(maps.reconstructions, maps.targets, strict=True)]
    expected = 1e-4 * losses[0] + 1e-12 * sum(losses[1:4]) + 1e-10 * losses[4]
    assert ReconstructionLoss("caffe")(maps).item() == pytest.approx(expected, rel=1e-14)
    assert ReconstructionLoss("caffe")(output(1)).item() > 0  # "first" has the images' weight alone


def test_auto_makes_the_first_losses_equal_and_then_stays():
    maps, loss = output(), ReconstructionLoss("auto")
    first = [by_hand(*each) for each in zip(maps.reconstructions, maps.targets, strict=True)]
    assert loss.weights is None
    assert loss(maps).item() == pytest.approx(3 * first[0])
    assert [weight * each for weight, each in zip(loss.weights, first, strict=True)] == pytest.approx([first[0]] * 3)
    weights = loss.weights
    loss(output())
    assert loss.weights == weights


def test_auto_weights_are_saved():
    loss, loaded = ReconstructionLoss("auto"), ReconstructionLoss("auto")
    empty = copy.deepcopy(loss.state_dict())
    loss(output())
    loaded.load_state_dict(loss.state_dict())
    assert loaded.weights == loss.weights is not None
    loaded.load_state_dict(empty)
    assert loaded.weights is None


def test_gradients_reach_both_sides():
    maps = output(1)
    ReconstructionLoss()(maps).backward()
    reconstruction, target = maps.reconstructions[0], maps.targets[0]
    torch.testing.assert_close(reconstruction.grad, (reconstruction - target).detach() / 2)
    torch.testing.assert_close(target.grad, -reconstruction.grad)


def test_low_precision_is_summed_in_float32():
    maps = AugmentedOutput(None, (torch.full((1, 1, 64, 64), 0.5).half(),), (torch.full((1, 1, 64, 64), 8.5).half(),))
    loss = ReconstructionLoss()(maps)
    assert loss.dtype == torch.float32
    assert loss.item() == 64 * 64 * 64 / 2


@pytest.mark.parametrize(("arguments", "message"), [
    ({"balance": "Caffe"}, "expected balance to be 'caffe', 'auto' or None, got 'Caffe'"),
    ({"balance": "auto", "weights": [1]}, "expected balance or weights, got"),
    ({"weights": [1, -1]}, r"expected weights that are finite and at least 0, got \[1, -1\]"),
    ({"weights": [float("nan")]}, "expected weights that are finite"),
])  # fmt: skip
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=f"ReconstructionLoss: {message}"):
        ReconstructionLoss(**arguments)


def test_too_few_weights_and_too_many():
    with pytest.raises(ValueError, match="ReconstructionLoss: weights has 4 values, but 3 maps are reconstructed"):
        ReconstructionLoss(weights=[1, 1, 1, 1])(output())
    with pytest.raises(ValueError, match="ReconstructionLoss: weights has 2 values, but 3 maps are reconstructed"):
        ReconstructionLoss(weights=[1, 1])(output())
    maps = output(5)
    six = AugmentedOutput(None, (*maps.reconstructions, maps.targets[0]), (*maps.targets, maps.targets[0]))
    with pytest.raises(ValueError, match="ReconstructionLoss: Table A-1 has 5 values, but 6 maps"):
        ReconstructionLoss("caffe")(six)


@pytest.mark.parametrize("value", [0.0, float("inf")])
def test_auto_needs_losses_to_compare(value):
    target = torch.zeros(1, 1, 2, 2)
    maps = AugmentedOutput(None, (target + 1, target + value), (target, target))
    with pytest.raises(ValueError, match=f"balance='auto' needs first losses .* got {value} for reconstruction 1"):
        ReconstructionLoss("auto")(maps)


@pytest.mark.parametrize("variant", ["first", "all", "layerwise"])
@pytest.mark.parametrize("switches", ["known", "fixed"])
def test_a_joint_step_lowers_the_objective(variant, switches):
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    model = augment(nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 2 * 2, 4)), variant, switches)
    with torch.no_grad():
        for parameter in model.decoders.parameters():
            parameter.normal_(std=0.1)
    x, labels = torch.rand(8, 3, 8, 8), torch.arange(8) % 4
    loss = ReconstructionLoss("auto")
    optimizer = torch.optim.SGD(model.parameters(), lr=2e-3, momentum=0.9)
    objectives = []
    for _ in range(20):
        result = model(x)
        objective = nn.functional.cross_entropy(result.logits, labels) + 0.1 * loss(result)
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
        objectives.append(objective.item())
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert objectives[-1] < 0.9 * objectives[0]
