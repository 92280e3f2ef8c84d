"""Where indices go decides what a pool becomes: users of indices, hooks, wrappers, and models that resist a trace."""

import copy

import pytest
import torch
from nn.paired import (
    Arithmetic,
    Functional,
    Pair,
    Returned,
    ReturnedInTraining,
    ReturnedPacked,
    Shape,
    Stored,
    StoredInEvaluation,
    Swallowed,
    Untraceable,
    Unused,
    X,
    assert_same_numbers,
    entry,
)
from torch import nn

import wwae
from wwae.nn import MaxPool2d, MaxUnpool2d, SwitchPool2d


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Arithmetic, "its indices are used by add"),
        (Shape, "its indices are used by getattr (shape)"),
        (Stored, "its indices are stored"),
        (StoredInEvaluation, "its indices are stored"),
        (Returned, "the model returns its indices"),
        (ReturnedInTraining, "the model returns its indices"),
        (ReturnedPacked, "the model returns its indices"),
        (Unused, "its indices reach no MaxUnpool2d"),
        (Functional, "its indices are used by max_unpool2d"),
        (Swallowed, "its indices go to identity (Identity), which may expect int64"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("training", [False, True])
def test_indices_that_go_elsewhere_stay_int64(model, reason, training):
    before = model()
    after, report = wwae.replace_pooling(before)
    assert type(after.pool) is MaxPool2d
    assert type(after.unpool) is MaxUnpool2d
    assert entry(report, "pool").reason == f"keeps int64 indices: {reason}"
    assert entry(report, "unpool").reason == "takes int64 indices as before"
    assert after.pool(X)[1].dtype == torch.int64
    assert_same_numbers(before, after, X, training)


def test_a_model_that_cannot_be_traced_keeps_int64_indices_and_gets_the_drop_ins():
    before = nn.Sequential(nn.MaxPool2d(3, 1, 1), Untraceable())
    after, report = wwae.replace_pooling(before)
    assert [type(after[0]), type(after[1].pool), type(after[1].unpool)] == [MaxPool2d, MaxPool2d, MaxUnpool2d]
    assert entry(report, "1.pool").reason.startswith("keeps int64 indices: the model can't be traced (TraceError: ")
    assert entry(report, "0").reason.startswith("gives values alone")
    with torch.no_grad():
        assert torch.equal(after(X), before(X))


def test_other_windows_need_an_output_size():
    class Other(Pair):
        def __init__(self, sized):
            super().__init__()
            self.sized = sized
            self.pool = nn.MaxPool2d(3, 2, 1, return_indices=True)

        def forward(self, x):
            values, indices = self.pool(x)
            return self.unpool(self.convolution(values), indices, x.shape if self.sized else None)

    for sized, pool in ((True, SwitchPool2d), (False, MaxPool2d)):
        before = Other(sized)
        after, report = wwae.replace_pooling(before)
        assert type(after.pool) is pool
        assert torch.equal(after(X), before(X))
    assert entry(report, "pool").reason == "keeps int64 indices: unpool has other windows and is given no output_size"


def test_dilated_windows_need_an_output_size():
    _, report = wwae.replace_pooling(Pair(dilation=2))
    assert "unpool has other windows" in entry(report, "pool").reason


def hooked(place):
    model = nn.Sequential(Pair())
    if place == "pool":
        model[0].pool.register_forward_hook(lambda module, inputs, output: None)
    elif place == "unpool":
        model[0].unpool.register_forward_hook(lambda module, inputs, output: None)
    elif place == "before unpool":
        model[0].unpool.register_forward_pre_hook(lambda module, inputs: None)
    return model


@pytest.mark.parametrize("place", ["pool", "unpool", "before unpool"])
def test_hooks_that_see_indices_keep_them(place):
    after, report = wwae.replace_pooling(hooked(place))
    assert type(after[0].pool) is MaxPool2d
    assert entry(report, "0.pool").reason == f"keeps int64 indices: a hook of 0.{place.split()[-1]} sees its indices"


def test_a_hook_of_a_container_that_indices_pass_keeps_them():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.pool = nn.MaxPool2d(2, return_indices=True)

        def forward(self, x):
            return self.pool(x)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder = Encoder()
            self.unpool = nn.MaxUnpool2d(2)

        def forward(self, x):
            return self.unpool(*self.encoder(x))

    model = Model()
    assert type(wwae.replace_pooling(model)[0].encoder.pool) is SwitchPool2d
    seen = []
    model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    after, report = wwae.replace_pooling(model)
    assert entry(report, "encoder.pool").reason == "keeps int64 indices: a hook of encoder sees its indices"
    assert seen == []  # the trace is not noticed
    after(X)
    assert seen[0][1].dtype == torch.int64


def test_hooks_that_see_no_indices_stay_and_run():
    calls = []
    before = Pair()
    before.pool.register_forward_pre_hook(lambda module, inputs: calls.append("before pool"))
    before.pool.register_full_backward_hook(lambda module, gradients, outputs: calls.append("backward of pool"))
    before.unpool.register_full_backward_hook(lambda module, gradients, outputs: calls.append("backward of unpool"))
    before.convolution.register_forward_hook(lambda module, inputs, output: calls.append("convolution"))
    before.register_forward_hook(lambda module, inputs, output: calls.append("model"))
    after, _ = wwae.replace_pooling(before)
    assert type(after.pool) is SwitchPool2d
    assert calls == []
    image = X.clone().requires_grad_()
    after(image).sum().backward()
    expected = ["before pool", "convolution", "model", "backward of unpool", "backward of pool"]
    assert calls == expected
    calls.clear()
    before(image).sum().backward()
    assert calls == expected


def test_the_trace_leaves_no_trace():
    class Noisy(Pair):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            self.last = x
            return super().forward(x + torch.rand(()))

    model = Noisy()
    state = torch.random.get_rng_state()
    after, _ = wwae.replace_pooling(model, inplace=True)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert after.calls == 0
    assert not hasattr(after, "last")
    assert type(after.pool) is SwitchPool2d


def test_data_parallel_is_looked_into():
    before = nn.DataParallel(Pair())
    after, report = wwae.replace_pooling(before)
    assert isinstance(after, nn.DataParallel)
    assert type(after.module.pool) is SwitchPool2d
    assert entry(report, "module.pool").reason == "its indices go to unpool alone: switches in their place"
    assert torch.equal(after(X), before(X))


def test_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = Pair()
        expected = copy.deepcopy(model)
        wrapped = nn.parallel.DistributedDataParallel(model)
        after, _ = wwae.replace_pooling(wrapped, inplace=True)
        assert type(after.module.pool) is SwitchPool2d
        assert_same_numbers(expected, after, X, training=True)
    finally:
        torch.distributed.destroy_process_group()


def test_a_compiled_model_is_looked_into():
    before = Pair()
    after, _ = wwae.replace_pooling(torch.compile(before, backend="eager"))
    assert type(after._orig_mod.pool) is SwitchPool2d
    assert torch.equal(after(X), before(X))


def test_lazy_modules_are_traced_without_being_initialised():
    model = Pair()
    model.convolution = nn.LazyConv2d(3, 3, padding=1)
    after, _ = wwae.replace_pooling(model)
    assert type(after.pool) is SwitchPool2d
    assert isinstance(after.convolution, nn.LazyConv2d)
    assert after(X).shape == X.shape
    assert isinstance(model.convolution.weight, nn.UninitializedParameter)
