"""Measures of a trained network."""

import pytest
import torch
from synthetic import bars

from wwae.models import SWWAE
from wwae.training import classification_error, evaluation, reconstruct, reconstruction_l2
from wwae.training.dataset import Split, to_float


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SWWAE("(4)3c-2p-(4)3c-2p-3fc", 1, 12, dropout=0.5, batch_norm=True)


def test_classification_error_is_the_percentage_of_wrong_classes(model, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 7)
    split = bars(20, seed=0)
    model.eval()
    predicted = model(to_float(split.images)).logits.argmax(1)
    assert classification_error(model, Split(split.images, predicted)) == 0.0
    three_wrong = predicted.clone()
    three_wrong[[0, 9, 19]] = (predicted[[0, 9, 19]] + 1) % 3
    assert classification_error(model, Split(split.images, three_wrong)) == pytest.approx(15.0)


def test_reconstruction_l2_is_a_sum_per_image_averaged_over_images(model, monkeypatch):
    monkeypatch.setattr(evaluation, "BATCH_SIZE", 7)
    images = bars(20, seed=0).images
    model.eval()
    expected = (model(to_float(images)).reconstruction - to_float(images)).square().sum((1, 2, 3)).mean()
    assert reconstruction_l2(model, images) == pytest.approx(expected.item(), rel=1e-6)


def test_reconstruct_with_each_unpooling(model):
    images = bars(5, seed=0).images
    reconstructions = reconstruct(model, images)
    assert list(reconstructions) == ["known", "fixed", "upsample"]
    model.eval()
    for unpool, reconstruction in reconstructions.items():
        torch.testing.assert_close(reconstruction, model.reconstruct(to_float(images), unpool))
    torch.testing.assert_close(reconstructions["known"], model(to_float(images)).reconstruction)


def test_measuring_changes_nothing(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    split = bars(5, seed=0)
    for training in (True, False):
        model.train(training)
        state = torch.get_rng_state()
        classification_error(model, split)
        reconstruction_l2(model, split.images)
        reconstruct(model, split.images)
        assert model.training == training
        assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_nothing_to_measure_on(model):
    with pytest.raises(ValueError, match="classification_error: expected at least one image, got none"):
        classification_error(model, bars(0, seed=0))
    with pytest.raises(ValueError, match="reconstruction_l2: expected at least one image, got none"):
        reconstruction_l2(model, bars(0, seed=0).images)
