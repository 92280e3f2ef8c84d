"""The objective, eq. 1 and 2 of Zhao et al. (2015), against sums written out by hand."""

import math

import pytest
import torch

from wwae.models import SWWAE
from wwae.training.configuration import LossConfiguration
from wwae.training.losses import reconstruction_distance, swwae_loss

N, LABELLED = 5, 3


@pytest.fixture
def batch():
    torch.manual_seed(0)
    model = SWWAE("(4)3c-2p-(4)3c-2p-(4)3c-2p-3fc", 1, 8).double()
    return model, torch.rand(N, 1, 8, 8, dtype=torch.float64), torch.tensor([2, 0, 1])


def distance_by_hand(a, b, form):
    total = 0.0
    for one, other in zip(a.detach(), b.detach(), strict=True):
        squares = sum((p - q) ** 2 for p, q in zip(one.flatten().tolist(), other.flatten().tolist(), strict=True))
        total += squares / one.numel() if form == "mse" else math.sqrt(squares)
    return total / len(a)


@pytest.mark.parametrize("form", ["mse", "l2"])
def test_semi_supervised_has_all_three_terms(batch, form):
    model, images, labels = batch
    terms = swwae_loss(model, images, labels, LossConfiguration(reconstruction=3, middle=0.5, form=form))
    output = model(images)

    probabilities = output.logits[:LABELLED].detach().softmax(1)
    nll = -sum(math.log(probabilities[i, label]) for i, label in enumerate(labels.tolist())) / LABELLED
    reconstruction = distance_by_hand(output.reconstruction, images, form)
    assert len(output.encoder_maps) == 2
    middle = sum(distance_by_hand(a, b, form) for a, b in zip(output.decoder_maps, output.encoder_maps, strict=True))
    assert terms.nll.item() == pytest.approx(nll, rel=1e-5)
    assert terms.reconstruction.item() == pytest.approx(reconstruction, rel=1e-5)
    assert terms.middle.item() == pytest.approx(middle, rel=1e-5)
    assert terms.total.item() == pytest.approx(nll + 3 * reconstruction + 0.5 * middle, rel=1e-5)


def test_supervised_does_not_run_the_decoder(batch):
    model, images, labels = batch
    for layer in model.decoder:
        layer.forward = None
    terms = swwae_loss(model, images, labels, LossConfiguration(mode="supervised"))
    expected = torch.nn.functional.cross_entropy(model.classify(images[:LABELLED]).float(), labels)
    assert terms == (expected, expected, None, None)


def test_unsupervised_leaves_the_classifier_without_gradient(batch):
    model, images, labels = batch
    settings = LossConfiguration(mode="unsupervised", reconstruction=2, middle=4)
    for given in (None, labels):
        terms = swwae_loss(model, images, given, settings)
        assert terms.nll is None
        assert terms.total.item() == pytest.approx(2 * terms.reconstruction.item() + 4 * terms.middle.item(), rel=1e-6)
    terms.total.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.classifier.parameters())
    assert all(p.grad is not None for p in [*model.encoder.parameters(), *model.decoder.parameters()])


def test_gradient_reaches_both_sides_of_a_middle_term(batch):
    model, images, _ = batch
    output = model(images)
    for maps in (output.encoder_maps, output.decoder_maps):
        for each in maps:
            each.retain_grad()
    settings = LossConfiguration(mode="unsupervised", reconstruction=0, middle=1)
    terms = sum(reconstruction_distance(a, b, "mse") for a, b in zip(output.decoder_maps, output.encoder_maps, strict=True))
    terms.backward()
    assert swwae_loss(model, images, None, settings).total.item() == pytest.approx(terms.item())
    assert all(m.grad.abs().sum() > 0 for m in (*output.encoder_maps, *output.decoder_maps))


def test_distance_of_equal_maps_has_gradient_zero():
    x = torch.rand(2, 1, 3, 3, requires_grad=True)
    for form in ("mse", "l2"):
        (gradient,) = torch.autograd.grad(reconstruction_distance(x, x.detach(), form), x)
        assert torch.equal(gradient, torch.zeros_like(x))


def test_distance_of_low_precision_maps_is_summed_in_float32():
    a, b = torch.rand(2, 4, 9, 9).bfloat16(), torch.rand(2, 4, 9, 9).bfloat16()
    distance = reconstruction_distance(a, b, "mse")
    assert distance.dtype == torch.float32
    assert distance.item() == pytest.approx(distance_by_hand(a, b, "mse"), rel=1e-5)


@pytest.mark.parametrize("mode", ["supervised", "semi-supervised"])
def test_labels_are_needed(batch, mode):
    model, images, _ = batch
    with pytest.raises(ValueError, match=f"swwae_loss: expected labels in {mode} mode, got None"):
        swwae_loss(model, images, None, LossConfiguration(mode=mode))


def test_a_classifier_is_needed(batch):
    _, images, labels = batch
    model = SWWAE("(4)3c-2p", 1, 8).double()
    with pytest.raises(ValueError, match="swwae_loss: expected an architecture with fc layers in semi-supervised mode"):
        swwae_loss(model, images, labels, LossConfiguration())
