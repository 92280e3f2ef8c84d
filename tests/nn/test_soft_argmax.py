"""The soft pair of modules: what they hold, and that they run the operations of their names."""

import math

import pytest
import torch

import wwae
from wwae import ops
from wwae.nn import SoftArgmaxPool2d, SoftArgmaxUnpool2d


@pytest.mark.parametrize("beta", [0.0, 2.5, [0.0, 1.0, 40.0]])
@pytest.mark.parametrize("arguments", [{}, {"stride": 2, "padding": 1}])
def test_modules_run_the_operations(beta, arguments):
    x = torch.randn(2, 3, 7, 7)
    what, where = SoftArgmaxPool2d(3, beta, **arguments)(x)
    expected = ops.soft_argmax_pool2d(x, 3, torch.tensor(beta), **arguments)
    assert torch.equal(what, expected[0])
    assert torch.equal(where, expected[1])
    full = SoftArgmaxUnpool2d(3, **arguments)(what, where, (7, 7))
    assert torch.equal(full, ops.soft_argmax_unpool2d(what, where, 3, output_size=(7, 7), **arguments))


@pytest.mark.parametrize("beta", [3.0, [1.0, 2.0, 4.0]])
def test_a_fixed_beta_is_kept_and_a_learned_one_is_a_parameter(beta):
    fixed, learned = SoftArgmaxPool2d(2, beta), SoftArgmaxPool2d(2, beta, learned=True)
    assert list(fixed.state_dict()) == ["beta"]
    assert not list(fixed.parameters())
    assert [name for name, _ in learned.named_parameters()] == ["log_beta"]
    torch.testing.assert_close(learned.sharpness, fixed.sharpness)
    restored = SoftArgmaxPool2d(2, torch.ones_like(torch.tensor(beta)), learned=True)
    restored.load_state_dict(learned.state_dict())
    torch.testing.assert_close(restored.sharpness, fixed.sharpness)


@pytest.mark.parametrize("beta", [1.0, [1.0, 2.0, 4.0]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_beta_is_learned(beta, dtype):
    """Pooling that should be sharper: descent raises beta, and however long the step, beta stays above 0."""
    pool = SoftArgmaxPool2d(2, beta, learned=True)
    x = torch.randn(2, 3, 8, 8).to(dtype)
    optimizer = torch.optim.SGD(pool.parameters(), lr=0.5)
    before = pool.sharpness.detach().clone()
    losses = []
    for _ in range(20):
        loss = (pool(x)[0].float() - torch.nn.functional.max_pool2d(x, 2).float()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert (pool.sharpness > before).all()
    with torch.no_grad():
        pool.log_beta -= 50
    assert (pool.sharpness > 0).all()
    assert pool(x)[0].isfinite().all()


def test_modules_follow_device_and_dtype_of_the_model_and_compile():
    model = SoftArgmaxPool2d(2, [1.0, 2.0], learned=True).bfloat16()
    x = torch.randn(1, 2, 4, 4).bfloat16()
    torch.compiler.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for actual, expected in zip(compiled(x), model(x), strict=True):
        assert torch.equal(actual, expected)


def test_repr():
    assert repr(SoftArgmaxPool2d(2, 100)) == "SoftArgmaxPool2d(kernel_size=2, beta=100, stride=2, padding=0, learned=False)"
    assert "beta=(3 channels)" in repr(SoftArgmaxPool2d(2, [1, 2, 3], learned=True))
    assert repr(SoftArgmaxUnpool2d((3, 2), 2, 1)) == "SoftArgmaxUnpool2d(kernel_size=(3, 2), stride=2, padding=1)"


@pytest.mark.parametrize(
    ("beta", "learned"), [(-1.0, False), (math.nan, False), (math.inf, True), (0.0, True), ([[1.0]], False), ([], False)]
)
def test_a_bad_beta_is_refused(beta, learned):
    with pytest.raises(ValueError, match="SoftArgmaxPool2d: expected beta"):
        SoftArgmaxPool2d(2, beta, learned=learned)


def test_the_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="one value for each of 3 channels"):
        wwae.nn.SoftArgmaxPool2d(2, [1.0, 2.0])(torch.zeros(1, 3, 4, 4))
