"""Steps of training: golden losses, stock pooling beside ours, and the state that continues them."""

import copy

import pytest
import torch
import torch.nn.functional as F
from synthetic import bars, load_bars, small_run

from wwae.models import swwae
from wwae.nn import SwitchPool2d
from wwae.ops import Switches
from wwae.training import ConfigurationError, Split, TrainingData, TrainingDiverged
from wwae.training.swwae_fit import SwwaeFit

CPU = torch.device("cpu")


def make_fit(network="swwae", round_number=1, data=None, **changes):
    return SwwaeFit(network, round_number, small_run(**changes), data or load_bars(0), CPU)


def losses(fit, steps):
    return [fit.advance().total.item() for _ in range(steps)]


def test_one_seed_gives_one_course_of_losses():
    expected = losses(make_fit(), 8)
    torch.rand(100)
    assert losses(make_fit(), 8) == expected
    assert losses(make_fit(seed=8), 8) != expected
    assert losses(make_fit(round_number=2), 8) != expected


@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_with_stock_pooling_gives_the_same_losses(monkeypatch, batch_norm):
    """To the bit layer by layer, to rounding where layers are fused."""
    model = {"model": {"architecture": "(8)3c-2p-(8)3c-3p-3fc", "batch_norm": batch_norm}}
    fused = losses(make_fit(**model), 12)
    fit = make_fit(**model)
    fit.model.fuse = False
    ours = losses(fit, 12)
    assert fused == pytest.approx(ours, rel=1e-3)
    weights = {name: value.clone() for name, value in fit.model.state_dict().items()}

    def pool(self, x):
        values, indices = F.max_pool2d(x, self.kernel_size, ceil_mode=self.ceil_mode, return_indices=True)
        switches = Switches.from_indices(indices, self.kernel_size, ceil_mode=self.ceil_mode, input_size=x.shape[2:])
        return values, switches

    def unpool(x, switches):
        full = F.max_unpool2d(x, switches.indices(), switches.kernel_size, output_size=switches.input_size)
        # The order in which a convolution sums depends on the memory format, which PyTorch's unpooling does not keep.
        return full.contiguous(memory_format=torch.channels_last)

    calls = []
    monkeypatch.setattr(SwitchPool2d, "forward", lambda self, x: calls.append("pool") or pool(self, x))
    monkeypatch.setattr(swwae, "switch_unpool2d", lambda x, switches: calls.append("unpool") or unpool(x, switches))
    stock = make_fit(**model)
    stock.model.fuse = False
    assert losses(stock, 12) == ours
    assert calls == ["pool", "pool", "unpool", "unpool"] * 12
    for name, value in stock.model.state_dict().items():
        assert torch.equal(value, weights[name]), name


@pytest.mark.parametrize(
    ("network", "mode"),
    [("swwae", "supervised"), ("swwae", "unsupervised"), ("swwae", "semi-supervised"), ("convnet", "semi-supervised")],
)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_state_continues_bit_for_bit(network, mode, optimizer):
    changes = {"loss": {"mode": mode}, "optimizer": {"name": optimizer, "lr": 0.01}}
    whole = make_fit(network, **changes)
    expected = losses(whole, 9)

    first = make_fit(network, **changes)
    losses(first, 4)
    state = copy.deepcopy(first.state())
    losses(first, 2)
    second = make_fit(network, **changes)
    second.restore(state)
    assert second.step == 4
    assert losses(second, 5) == expected[4:]
    for name, value in second.model.state_dict().items():
        assert torch.equal(value, whole.model.state_dict()[name]), name
    row, expected_row = second.take_averages(), whole.take_averages()
    for column in ("step", "epoch", "learning_rate", "loss", "nll_nats", "gradient_norm"):
        assert row[column] == expected_row[column]


def test_training_learns():
    fit = make_fit(epochs=20, model={"dropout": 0.0})
    course = losses(fit, fit.steps)
    assert sum(course[-5:]) < 0.5 * sum(course[:5])


def test_convnet_trains_on_labelled_images_alone_for_as_many_steps():
    swwae_fit, convnet = make_fit(), make_fit("convnet")
    assert convnet.steps == swwae_fit.steps == 12
    for name, value in convnet.model.state_dict().items():
        assert torch.equal(value, swwae_fit.model.state_dict()[name]), name
    decoder = [p.clone() for p in convnet.model.decoder.parameters()]
    seen = []
    convnet.model.encoder[0].register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    terms = convnet.advance()
    assert seen == [5]
    assert terms.reconstruction is None
    assert all(torch.equal(p, q) for p, q in zip(convnet.model.decoder.parameters(), decoder, strict=True))


@pytest.mark.parametrize(
    ("mode", "labelled", "unlabelled", "steps_per_epoch", "images"),
    [
        ("semi-supervised", 12, 40, 4, 15),
        ("semi-supervised", 12, 0, 2, 5),
        ("supervised", 12, 40, 2, 5),
        ("unsupervised", 12, 40, 5, 10),
        ("unsupervised", 12, 0, 1, 10),
        ("unsupervised", 0, 40, 4, 10),
    ],
)
def test_images_of_a_step_and_steps_of_an_epoch(mode, labelled, unlabelled, steps_per_epoch, images):
    data = TrainingData(bars(labelled, 0), bars(unlabelled, 1).images, test=bars(5, 2))
    fit = make_fit(data=data, loss={"mode": mode})
    assert fit.steps_per_epoch == steps_per_epoch
    fit.advance()
    assert fit.images_seen == images


def test_averages_cover_the_steps_since_the_last_ones():
    fit = make_fit()
    first = losses(fit, 3)
    row = fit.take_averages()
    assert row["loss"] == pytest.approx(sum(first) / 3)
    assert (row["step"], row["epoch"]) == (3, 0.75)
    second = losses(fit, 2)
    assert fit.take_averages()["loss"] == pytest.approx(sum(second) / 2)


@pytest.mark.parametrize(
    ("mode", "absent"),
    [
        ("semi-supervised", []),
        ("supervised", ["reconstruction_loss", "middle_loss"]),
        ("unsupervised", ["nll_nats"]),
    ],
)
def test_terms_that_a_mode_leaves_out_are_not_reported(mode, absent):
    fit = make_fit(loss={"mode": mode})
    fit.advance()
    row = fit.take_averages()
    assert [column for column in ("nll_nats", "reconstruction_loss", "middle_loss") if row[column] is None] == absent


def test_a_loss_that_is_not_finite_stops_the_run():
    fit = make_fit()
    fit.advance()
    with torch.no_grad():
        fit.parameters[0].fill_(float("inf"))
    fit.advance()
    with pytest.raises(TrainingDiverged, match="swwae, round 1: the loss became nan by step 2; try a smaller"):
        fit.take_averages()


def test_bfloat16_keeps_weights_and_losses_in_float32():
    fit = make_fit(precision="bfloat16")
    types = []
    fit.model.encoder[0].register_forward_hook(lambda _, __, output: types.append(output.dtype))
    terms = fit.advance()
    assert types == [torch.bfloat16]
    assert terms.total.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in fit.model.parameters())
    assert terms.total.item() == pytest.approx(make_fit().advance().total.item(), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"architecture": "(8)3c-2p-2fc"}}, "expected a last layer of at least 3fc .*, got 2fc"),
        ({"model": {"architecture": "(8)3c-2p"}}, "expected fc layers to learn labels with, got '"),
        ({"model": {"architecture": "(8)3c-2x"}}, "model: parse_architecture: expected a layer"),
        ({"model": {"architecture": "(8)3c-13p-3fc"}}, "pools 13x13 windows, but its map is only 12x12"),
    ],
)
def test_a_network_that_does_not_fit_the_data(changes, message):
    with pytest.raises(ConfigurationError, match=message):
        make_fit(**changes)


def test_no_images_to_learn_from():
    empty = Split(bars(1, 0).images[:0], torch.zeros(0).long())
    data = TrainingData(empty, empty.images, test=bars(5, 2))
    with pytest.raises(ConfigurationError, match="data: no images to learn from in unsupervised mode"):
        make_fit(data=data, loss={"mode": "unsupervised"})
    with pytest.raises(ConfigurationError, match="data: no labelled images to learn from in semi-supervised mode"):
        make_fit(data=TrainingData(empty, bars(4, 1).images, test=bars(5, 2)))
