"""What a run in stages is measured by, against numbers worked out by hand."""

import copy

import pytest
import torch
from PIL import Image
from synthetic import bars, load_bars
from torch import nn

from wwae.models import augment
from wwae.training import RunDirectory, Split, StagedConfiguration, StagedData, derive_seed, train_in_stages
from wwae.training.classifier_evaluation import decoding, mirrored, reconstruction_errors, resized, top_errors
from wwae.training.staged_evaluation import early_share, evaluate_stages, filter_changes
from wwae.training.staged_figures import draw_filters
from wwae.training.stages import Stages, read_weights


class Fixed(nn.Module):
    """Gives scores that are stored in the images' first pixels."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x[:, 0, 0, :3]


def scored(*scores, labels):
    images = torch.zeros(len(scores), 1, 4, 4)
    images[:, 0, 0, :3] = torch.tensor(scores)
    return Split(images, torch.tensor(labels))


def test_errors_count_the_classes_above_the_right_one():
    images = scored([0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.1, 0.5, 0.9], [0.2, 0.3, 0.1], labels=[0, 1, 0, 1])
    assert top_errors(Fixed(), images, (1, 2, 3)) == (50.0, 25.0, 0.0)
    assert top_errors(Fixed(), scored([float("nan")] * 3, labels=[1]), (1, 2)) == (100.0, 100.0)
    with pytest.raises(ValueError, match="top_errors: expected at least one image"):
        top_errors(Fixed(), Split(images.images[:0], images.labels[:0]))


@pytest.mark.parametrize(("size", "largest"), [(32, 250), (224, 20), (2048, 1)])
def test_large_images_are_measured_few_at_a_time(size, largest):
    read_at_once = []

    class Images:
        def __len__(self):
            return 251 if size == 32 else 21

        def read(self, positions, seed=None):
            read_at_once.append(len(positions))
            return Split(torch.zeros(1, 1, size, size).expand(len(positions), -1, -1, -1), torch.zeros(len(positions)).long())

    assert top_errors(Fixed(), Images()) == (0.0,)
    assert max(read_at_once) == largest


def test_scores_of_the_versions_of_an_image_are_averaged():
    images = scored([0.6, 0.0, 0.2], labels=[2])
    assert top_errors(Fixed(), images) == (100.0,)
    # The mirror image of the first row is (0, 0.2, 0, 0.6): its third score is 0, the first too.
    assert top_errors(Fixed(), images, prepare=lambda x: [x, x + torch.tensor([0.0, 0.0, 1.0, 0.0])]) == (0.0,)
    row = mirrored(images.images)[1][0, 0, 0]
    assert row.tolist() == pytest.approx([0.0, 0.2, 0.0, 0.6])


def test_resizing_keeps_a_constant_and_the_mean():
    assert torch.equal(resized(torch.full((1, 1, 8, 8), 0.25), (9, 9)), torch.full((1, 1, 9, 9), 0.25))
    noise = torch.rand(1, 1, 32, 32)
    assert resized(noise, (16, 16)).mean() == pytest.approx(noise.mean().item(), abs=0.02)


def test_reconstruction_errors_sum_over_a_map_and_average_over_the_images():
    layers = [nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2 * 36, 3)]
    model = augment(nn.Sequential(*layers))
    for parameter in model.decoders.parameters():
        nn.init.zeros_(parameter)
    images = bars(7, 0)
    expected = images.images.float().div(255).square().sum().item() / 7
    assert reconstruction_errors(model, images) == (pytest.approx(expected, rel=1e-5),)
    with decoding(model, variant="layerwise", switches="fixed"):
        assert (model.variant, model.switches) == ("layerwise", "fixed")
    assert (model.variant, model.switches) == ("first", "known")


def test_the_change_of_filters_is_relative_to_their_size():
    before = nn.Sequential(nn.Conv2d(1, 1, 2), nn.ReLU(), nn.Linear(2, 1))
    after = copy.deepcopy(before)
    with torch.no_grad():
        before[0].weight.copy_(torch.tensor([[[[1.0, -1.0], [2.0, 0.0]]]]))
        after[0].weight.copy_(torch.tensor([[[[1.5, -1.0], [1.0, 0.5]]]]))
    assert filter_changes(before, after) == {"0": pytest.approx(50.0), "2": 0.0}


@pytest.mark.parametrize(
    ("errors", "share"),
    [
        ({1: 9.0, 2: 8.0, 4: 8.0, 8: 6.0}, 0.5),
        ({2: 10.5, 8: 9.0}, -0.5),
        ({4: 8.0, 8: 6.0}, None),
        ({2: 8.0, 8: 10.0}, None),
        ({}, None),
    ],
)
def test_the_share_of_the_gain_that_came_early(errors, share):
    rows = [{"network": "joint", "epoch": str(epoch), "test_error_percent": str(error)} for epoch, error in errors.items()]
    rows.append({"network": "control", "epoch": "1", "test_error_percent": "1.0"})
    rows.append({"network": "joint", "epoch": "0.5", "test_error_percent": ""})
    assert early_share(rows, 10.0) == share


def test_filters_become_a_picture(tmp_path):
    draw_filters({"before": torch.randn(5, 1, 3, 3), "after": torch.randn(16, 3, 3, 3)}, tmp_path / "filters.png")
    assert Image.open(tmp_path / "filters.png").size > (500, 300)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "finished"
    changes = {
        "epochs": 2,
        "model": {"network": "(6)3c-2p-(8)3c-2p-3fc"},
        "classifier": {"epochs": 4, "lr": 0.05},
        "loss": {"reconstruction": 1e-3},
        "joint": {"lr": 0.005},
        "run": {"dir": path},
        "device": "cpu",
    }
    configuration = StagedConfiguration().updated(changes)
    train_in_stages(configuration, lambda seed: StagedData.from_memory(load_bars(seed), 3))
    data = StagedData.from_memory(load_bars(derive_seed(0, "labelled set")), 3)
    return Stages(configuration, data, torch.device("cpu")), RunDirectory(path)


def test_a_finished_run_is_measured_by_both_protocols(finished):
    stages, directory = finished
    result = evaluate_stages(stages, directory, train_images=8)
    assert result["train_images"] == 8
    networks = result["networks"]
    assert list(networks) == ["classifier", "control", "joint"]
    for stage, errors in networks.items():
        weights = read_weights(directory, stage)
        classifier = stages.augmented(weights).classifier if stage == "joint" else stages.classifier(weights)
        scores = classifier.eval()(stages.data.test.images.float().div(255))
        wrong = scores.argmax(1) != stages.data.test.labels
        assert errors["top1"] == pytest.approx(100 * wrong.float().mean().item())
        assert errors["top5"] <= errors["top1"] and errors["convolution_top5"] <= errors["convolution_top1"]
        assert errors["train_top1"] * 8 / 100 == pytest.approx(round(errors["train_top1"] * 8 / 100))
        assert ("filter_change" in errors) == (stage != "classifier")
    changes = networks["joint"]["filter_change"]
    assert list(changes) == ["features.0", "features.3", "classifier.1"] and all(change > 0 for change in changes.values())
    model = stages.augmented(read_weights(directory, "joint"))
    assert result["reconstruction_l2"]["known"] == pytest.approx(reconstruction_errors(model, stages.data.test)[0])
    assert result["reconstruction_l2"]["fixed"] != result["reconstruction_l2"]["known"]


def test_the_convolution_protocol_sees_larger_images_and_their_mirror_images(finished, monkeypatch):
    stages, directory = finished
    seen = []
    convolution = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: seen.append(tuple(x.shape[2:])) or convolution(self, x))
    evaluate_stages(stages, directory, train_images=8)
    assert {(12, 12), (14, 14)} <= set(seen)
    with_mirror = seen.count((14, 14))
    seen.clear()
    evaluate_stages(stages, directory, train_images=8, mirror=False)
    assert with_mirror == 2 * seen.count((14, 14))
