"""Dense evaluation: inner products as convolutions, scores averaged over the grid."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from wwae.models import augment, fully_convolutional


def small(*between, head=()):
    """Native size 16x16, whose last map is 4x4."""
    layers = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    inner_products = [nn.Linear(6 * 4 * 4, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 7)]
    return nn.Sequential(*layers, *between, nn.Flatten(), *inner_products, *head).double()


NETWORKS = {
    "plain": small,
    "adaptive pooling": lambda: small(nn.AdaptiveAvgPool2d((4, 4)), nn.Dropout()),
    "log softmax": lambda: small(head=[nn.LogSoftmax(1)]),
    "no bias": lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(1), nn.Linear(2 * 14 * 14, 3, bias=False)).double(),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_equal_at_the_native_size(name):
    classifier = NETWORKS[name]().eval()
    x = torch.rand(3, 3, 16, 16, dtype=torch.float64)
    dense = fully_convolutional(classifier)
    assert not any(isinstance(module, nn.Linear) for module in dense.modules())
    torch.testing.assert_close(dense(x), classifier(x))


def test_scores_are_averaged_over_the_grid():
    """A map of 5x6 holds 2x3 native ones."""
    classifier = small().eval()
    x = torch.rand(2, 3, 20, 24, dtype=torch.float64)
    maps = classifier[:6](x)
    grid = [classifier[6:](maps[:, :, i : i + 4, j : j + 4]) for i in range(2) for j in range(3)]
    torch.testing.assert_close(fully_convolutional(classifier)(x), torch.stack(grid).mean(0))


def test_softmax_comes_after_the_average():
    classifier = small(head=[nn.Softmax(1)]).eval()
    x = torch.rand(2, 3, 20, 20, dtype=torch.float64)
    scores = fully_convolutional(classifier[:-1])(x)
    torch.testing.assert_close(fully_convolutional(classifier)(x), scores.softmax(1))


class Functional(nn.Module):
    def __init__(self, reshape):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(1, 2, 3), nn.Linear(2 * 6 * 6, 4), nn.Linear(4, 3)
        self.reshape = reshape

    def forward(self, x):
        x = F.dropout(F.relu(self.first(self.reshape(F.relu(self.conv(x))))), training=self.training)
        return F.log_softmax(self.second(x), dim=1)


@pytest.mark.parametrize("reshape", [
    lambda x: x.view(-1, 72), lambda x: x.view(x.size(0), -1), lambda x: x.reshape(x.shape[0], -1), lambda x: torch.flatten(x, 1),
    lambda x: x.flatten(1), lambda x: x.flatten(start_dim=1), lambda x: F.adaptive_avg_pool2d(x, (6, 6)).flatten(1),
])  # fmt: skip
def test_functions_are_understood(reshape):
    classifier = Functional(reshape).eval()
    x = torch.rand(2, 1, 8, 8)
    dense = fully_convolutional(classifier)
    torch.testing.assert_close(dense(x), classifier(x))
    assert dense(torch.rand(2, 1, 9, 12)).shape == (2, 3)


def test_weights_are_shared_and_the_classifier_is_not_changed():
    classifier = small().train()
    dense = fully_convolutional(classifier)
    assert not dense.training and classifier.training
    assert isinstance(classifier[7], nn.Linear)
    x = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(dense(x), classifier.eval()(x))


@pytest.mark.parametrize("name", ["alexnet", "vgg11"])
def test_torchvision_at_the_native_size(name):
    classifier = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    # Narrow inner products in place of those of a hundred million weights.
    first = 1 if name == "alexnet" else 0
    linear = classifier.classifier[first]
    classifier.classifier = nn.Sequential(nn.Dropout(), nn.Linear(linear.in_features, 16), nn.ReLU(True), nn.Linear(16, 10)).eval()
    x = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        dense = fully_convolutional(augment(classifier))
        torch.testing.assert_close(dense(x), classifier(x))
        assert dense(torch.rand(1, 3, 256, 288)).shape == (1, 10)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1"])
def test_a_network_that_takes_any_size_stays_as_it_is(name):
    classifier = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    x = torch.rand(1, 3, 80, 64)
    with torch.no_grad():
        assert torch.equal(fully_convolutional(classifier)(x), classifier(x))


@pytest.mark.parametrize(("classifier", "message"), [
    (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4), nn.LayerNorm(4)),
     "3 comes after the flattening and is no inner product"),
    (nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(9, 4)), "2 reads 9 numbers of a map with 3 channels"),
    (nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(9, 4)), "2 reads 9 numbers of a map with unknown channels"),
])  # fmt: skip
def test_other_heads_are_refused(classifier, message):
    with pytest.raises(ValueError, match=f"fully_convolutional: {message}"):
        fully_convolutional(classifier)


def test_only_modules_are_turned():
    with pytest.raises(TypeError, match="fully_convolutional: expected classifier to be a"):
        fully_convolutional("vgg16")
