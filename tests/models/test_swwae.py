"""The stacked what-where auto-encoder."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from wwae.models import SWWAE
from wwae.models.swwae_blocks import ConvolutionBlock, DeconvolutionBlock

MNIST = "(8)5c-2p-(8)3c-2p-(8)3c-2p-10fc"


def test_known_unpooling_equals_a_network_of_stock_layers():
    torch.manual_seed(0)
    model = SWWAE("(4)5c-2p-(6)3c-2p-7fc-3fc", in_channels=2, image_size=8).double()
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)

    first, second = (model.encoder[i].convolution for i in (0, 2))
    low, low_where = F.max_pool2d(F.relu(F.conv2d(x, first.weight, first.bias, padding=2)), 2, return_indices=True)
    top, top_where = F.max_pool2d(F.relu(F.conv2d(low, second.weight, second.bias, padding=1)), 2, return_indices=True)
    hidden = F.relu(F.linear(top.flatten(1), model.classifier[2].weight, model.classifier[2].bias))
    logits = F.linear(hidden, model.classifier[5].weight, model.classifier[5].bias)
    upper, lower = (model.decoder[i].deconvolution for i in (1, 3))
    middle = F.relu(F.conv_transpose2d(F.max_unpool2d(top, top_where, 2), upper.weight, upper.bias, padding=1))
    image = F.conv_transpose2d(F.max_unpool2d(middle, low_where, 2), lower.weight, lower.bias, padding=2)

    output = model(x)
    assert torch.equal(output.logits, logits)
    assert torch.equal(output.reconstruction, image)
    assert len(output.encoder_maps) == len(output.decoder_maps) == 1
    assert torch.equal(output.encoder_maps[0], low)
    assert torch.equal(output.decoder_maps[0], middle)
    assert torch.equal(model.classify(x), logits)


@pytest.mark.parametrize(
    ("unpool", "expected"),
    [
        ("known", [[0, 4, 0], [0, 0, 3], [0, 5, 2]]),
        ("fixed", [[0, 0, 0], [0, 4, 0], [0, 0, 0]]),
        ("upsample", [[4, 4, 3], [4, 4, 3], [5, 5, 2]]),
    ],
)
def test_each_unpooling_puts_values_where_it_says(unpool, expected):
    # One 1x1 convolution with weight 1 on both ways leaves only the pooling; the last row and column of windows are narrow.
    model = SWWAE("(1)1c-2p", in_channels=1, image_size=3, unpool=unpool)
    with torch.no_grad():
        for block in (model.encoder[0].convolution, model.decoder[1].deconvolution):
            block.weight.fill_(1)
            block.bias.fill_(0)
    x = torch.tensor([[1.0, 4, 0], [2, 3, 3], [4, 5, 2]])[None, None]
    assert model(x).reconstruction[0, 0].tolist() == expected


@pytest.mark.parametrize("trained", ["known", "fixed", "upsample"])
@pytest.mark.parametrize("shown", ["known", "fixed", "upsample"])
def test_another_unpooling_keeps_the_sum_that_a_window_receives(trained, shown):
    torch.manual_seed(0)
    model = SWWAE("(1)1c-3p-2p", 1, 12, unpool=trained)
    with torch.no_grad():
        for block in (model.encoder[0].convolution, model.decoder[2].deconvolution):
            block.weight.fill_(1)
            block.bias.fill_(0)
    x = torch.rand(2, 1, 12, 12)
    expected, reconstruction = model(x).reconstruction, model.reconstruct(x, shown)
    torch.testing.assert_close(F.avg_pool2d(reconstruction, 6), F.avg_pool2d(expected, 6))
    assert torch.equal(reconstruction, expected) == (shown == trained)


def test_reconstruct_knows_three_unpoolings():
    with pytest.raises(ValueError, match="expected unpool to be one of known, fixed, upsample, got 'nearest'"):
        SWWAE(MNIST, 1, 32).reconstruct(torch.rand(1, 1, 32, 32), "nearest")


@pytest.mark.parametrize(
    ("architecture", "size", "middle"),
    [
        (MNIST, 32, [(8, 16, 16), (8, 8, 8)]),
        ("(8)5c-(4)3c-2p-(4)3c-16p", 32, [(4, 16, 16)]),
        ("(4)5c-(8)3c-16p", 32, []),
        ("(4)3c-2p-(8)3c-10fc", 8, [(4, 4, 4)]),
        ("(4)3c-2p-2p-10fc", 8, [(4, 4, 4)]),
        ("(4)3c-3p-(5)2c-(6)4c-2p-(7)3c-9fc-10fc", (28, 19), [(4, 10, 7), (6, 5, 4)]),
        ("(4)3c", 5, []),
        ("2p-(4)3c-2p-10fc", 8, [(3, 4, 4)]),
    ],
)
@pytest.mark.parametrize("unpool", ["known", "fixed", "upsample"])
@pytest.mark.parametrize("tied", [False, True])
def test_shapes(architecture, size, middle, unpool, tied):
    height, width = (size, size) if isinstance(size, int) else size
    model = SWWAE(architecture, in_channels=3, image_size=size, unpool=unpool, tied=tied, batch_norm=True)
    x = torch.rand(2, 3, height, width)
    output = model(x)
    assert output.reconstruction.shape == x.shape
    assert [tuple(m.shape[1:]) for m in output.encoder_maps] == middle
    assert [tuple(m.shape[1:]) for m in output.decoder_maps] == middle
    if architecture.endswith("fc"):
        assert output.logits.shape == (2, 10)
    else:
        assert output.logits is None
        with pytest.raises(ValueError, match="no fully-connected layer to classify with"):
            model.classify(x)


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
def test_a_tied_deconvolution_is_the_transpose_of_its_convolution(kernel_size):
    torch.manual_seed(0)
    forward = ConvolutionBlock(3, 5, kernel_size, batch_norm=False).double()
    backward = DeconvolutionBlock(5, 3, kernel_size, batch_norm=False, relu=False, tied=True).double()
    nn.init.zeros_(forward.convolution.bias)
    nn.init.zeros_(backward.deconvolution.bias)
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64, requires_grad=True)
    y = torch.randn(2, 5, 7, 6, dtype=torch.float64)
    # A convolution that stays positive passes its ReLU unchanged; its vector-Jacobian product is its transpose.
    nn.init.constant_(forward.convolution.bias, 1e3)
    (transposed,) = torch.autograd.grad(forward(x), x, y)
    torch.testing.assert_close(backward(y, forward.convolution.weight), transposed)


def test_tied_weights_are_shared_and_learn_from_both_ways():
    model = SWWAE("(4)3c-2p-(4)3c-2p-10fc", 1, 8, tied=True)
    assert not any(name.startswith("decoder") and name.endswith("weight") for name, _ in model.named_parameters())
    x = torch.rand(2, 1, 8, 8)
    model(x).logits.sum().backward()
    alone = model.encoder[0].convolution.weight.grad.clone()
    model.zero_grad()
    output = model(x)
    (output.logits.sum() + output.reconstruction.sum()).backward()
    assert not torch.allclose(model.encoder[0].convolution.weight.grad, alone)


def test_every_parameter_learns():
    torch.manual_seed(0)
    model = SWWAE("(4)3c-2p-(4)3c-2p-5fc-3fc", 2, 8, batch_norm=True, dropout=0.1)
    output = model(torch.rand(4, 2, 8, 8))
    loss = output.logits.square().mean() + output.reconstruction.square().mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_dropout_and_batch_norm_are_off_in_evaluation():
    model = SWWAE(MNIST, 1, 32, batch_norm=True, dropout=0.5)
    x = torch.rand(4, 1, 32, 32)
    assert not torch.equal(model(x).logits, model(x).logits)
    model.eval()
    assert torch.equal(model(x).logits, model(x).logits)
    torch.testing.assert_close(model(x).logits[:1], model(x[:1]).logits)


def test_batch_norm_follows_every_convolution_of_both_ways():
    norms = [m for m in SWWAE(MNIST, 1, 32, batch_norm=True).modules() if isinstance(m, nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [8, 8, 8, 8, 8, 1]


def test_channels_last_gives_the_same_numbers():
    torch.manual_seed(0)
    model = SWWAE(MNIST, 3, 32).double()
    x = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    plain = model(x)
    other = model.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(other.reconstruction, plain.reconstruction)
    torch.testing.assert_close(other.logits, plain.logits)


@pytest.mark.parametrize("unpool", ["known", "fixed", "upsample"])
def test_compiles_without_graph_breaks(unpool):
    torch.manual_seed(0)
    model = SWWAE("(4)3c-2p-(4)3c-3p-3fc", 1, 8, unpool=unpool)
    x = torch.rand(2, 1, 8, 8)
    # aot_eager traces forward and backward through the operations without a compiler for the machine.
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    expected, output = model(x), compiled(x)
    for name, value in expected._asdict().items():
        torch.testing.assert_close(getattr(output, name), value, msg=name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "(4)3c-2p-oops"}, "expected a layer such as"),
        ({"architecture": "2p-10fc"}, "expected architecture with at least one convolution, got '2p-10fc'"),
        ({"architecture": "(4)3c-4p-(4)3c-4p-10fc"}, r"layer 4 \(4p\) .* pools 4x4 windows, but its map is only 2x2"),
        ({"pooling": "mean"}, "expected pooling to be 'hard' or 'soft', got 'mean'"),
        ({"pooling": "soft", "image_size": 9}, "is soft pooling, whose windows have to divide its map, 9x9"),
        ({"pooling": "soft", "beta": -1.0}, "expected beta >= 0 and finite"),
        ({"unpool": "nearest"}, "expected unpool to be one of known, fixed, upsample, got 'nearest'"),
        ({"in_channels": 0}, "expected in_channels at least 1, got 0"),
        ({"image_size": 0}, "expected image_size an int or a pair, at least 1, got 0"),
        ({"dropout": 1.5}, "dropout probability has to be between 0 and 1, but got 1.5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        SWWAE(**{"architecture": "(4)3c-2p-10fc", "in_channels": 1, "image_size": 8} | arguments)


@pytest.mark.parametrize("shape", [(2, 1, 8, 9), (2, 3, 8, 8), (1, 8, 8), (8, 8)])
def test_bad_images(shape):
    model = SWWAE("(4)3c-2p-10fc", 1, 8)
    with pytest.raises(ValueError, match=r"SWWAE: expected x of shape \[N, 1, 8, 8\], got \["):
        model(torch.rand(shape))


def test_sharp_soft_pooling_is_hard_pooling():
    """With beta so large that one tap takes all the weight, the two networks are one."""
    networks = []
    for pooling in ("hard", "soft"):
        torch.manual_seed(0)
        networks.append(SWWAE("(4)3c-2p-(6)3c-4p-3fc", 1, 16, pooling=pooling, beta=1e6).double())
        for index in (0, 2):  # no window of zeros, whose soft position is its middle
            torch.nn.init.constant_(networks[-1].encoder[index].convolution.bias, 5.0)
    x = torch.randn(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hard, soft = (network(x) for network in networks)
    torch.testing.assert_close(soft.logits, hard.logits)
    torch.testing.assert_close(soft.reconstruction, hard.reconstruction)
    for unpool in ("fixed", "upsample"):
        torch.testing.assert_close(networks[1].reconstruct(x, unpool), networks[0].reconstruct(x, unpool))


def test_the_gradient_of_a_soft_network_passes_its_positions():
    torch.manual_seed(0)
    network = SWWAE("(4)3c-2p-3fc", 1, 8, pooling="soft", beta=5.0).double()
    for parameter in network.parameters():
        parameter.data.mul_(2)
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(x).reconstruction, x)
