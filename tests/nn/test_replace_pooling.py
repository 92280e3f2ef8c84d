"""replace_pooling: what it swaps, that no number changes, and what a user still finds in the model."""

import copy
import io
import pickle
import re

import pytest
import torch
import torch.nn.functional as F
from nn.paired import AsksForClasses, CalledTwice, Packed, Pair, Sized, TwoNames, X, assert_same_numbers, entry
from torch import nn

import wwae
from wwae.nn import MaxPool2d, MaxUnpool2d, SwitchPool2d
from wwae.ops import Switches


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("model", [Pair, Sized, Packed, CalledTwice, TwoNames], ids=lambda model: model.__name__)
def test_pairs_are_swapped_for_switches(model, training):
    torch.manual_seed(0)
    before = model()
    after, report = wwae.replace_pooling(before)
    assert type(after) is model
    assert type(after.pool) is SwitchPool2d
    assert isinstance(after.pool, nn.MaxPool2d)
    assert type(after.unpool) is MaxUnpool2d
    assert isinstance(after.unpool, nn.MaxUnpool2d)
    assert type(before.pool) is nn.MaxPool2d
    assert entry(report, "pool").reason == "its indices go to unpool alone: switches in their place"
    assert entry(report, "unpool").reason == "takes the switches of pool"
    assert isinstance(after.pool(X)[1], Switches)
    assert_same_numbers(before, after, X, training)


def test_modules_that_are_found_by_their_class_stay_found():
    before = AsksForClasses()
    after, _ = wwae.replace_pooling(before)
    assert type(after.layers[1]) is SwitchPool2d
    assert_same_numbers(before, after, X)


def test_one_pool_with_two_names_is_one_entry_and_stays_one_module():
    after, report = wwae.replace_pooling(TwoNames())
    assert after.pool is after.same_pool
    assert [entry.name for entry in report.entries] == ["pool, same_pool", "unpool"]


def test_a_remainder_is_kept_without_output_size_and_a_wrong_output_size_is_refused():
    model, _ = wwae.replace_pooling(Pair())
    x = torch.randn(1, 3, 9, 13)
    assert model(x).shape == x.shape
    values, switches = model.pool(x)
    assert model.unpool(values, switches, output_size=torch.Size((1, 3, 9, 13))).shape == x.shape
    assert model.unpool(values, switches, [9, 13]).shape == x.shape
    with pytest.raises(ValueError, match=r"switch_unpool2d: expected output_size \(9, 13\), the size of the map that was pooled"):
        model.unpool(values, switches, output_size=(8, 12))


@pytest.mark.parametrize("padding", [0, 1])
def test_padding_of_the_pair(padding):
    before = Pair(padding=padding)
    after, _ = wwae.replace_pooling(before)
    assert type(after.pool) is SwitchPool2d
    x = torch.randn(2, 3, 10, 12)
    assert_same_numbers(before, after, x)


def test_what_is_left_alone_and_why():
    class Custom(nn.MaxPool2d):
        def forward(self, x):
            return super().forward(x) + 1

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.custom = Custom(2)
            self.adaptive = nn.AdaptiveMaxPool2d(4)
            self.one_dimensional = nn.MaxPool1d(1)
            self.exchanged = nn.MaxPool2d(1)
            self.exchanged.forward = lambda x: x
            self.never_called = nn.MaxPool2d(2, return_indices=True)
            self.average = nn.AvgPool2d(2)

        def forward(self, x):
            x = self.exchanged(self.adaptive(self.custom(x)))
            return self.average(F.max_pool2d(self.one_dimensional(x.flatten(2)).unflatten(2, (4, 4)), 2))

    before = Model()
    after, report = wwae.replace_pooling(before)
    assert {e.name: (e.after == e.before, e.reason) for e in report.entries} == {
        "custom": (True, "a class of its own, which may compute something else"),
        "adaptive": (True, "only two-dimensional max pooling with fixed windows has switches"),
        "one_dimensional": (True, "only two-dimensional max pooling with fixed windows has switches"),
        "exchanged": (True, "its forward was exchanged on the object"),
        "never_called": (False, "keeps int64 indices: the trace of the model's forward doesn't reach it"),
        "": (True, "a function that forward calls, not a module"),
    }
    assert torch.equal(after(X), before(X))
    lines = str(report).splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(f"custom           {Custom.__module__}.test_what_is_left_alone_and_why")
    assert "adaptive         torch.nn.AdaptiveMaxPool2d, left alone" in str(report)
    assert "(the model)      torch.nn.functional.max_pool2d, left alone" in str(report)


def test_a_model_without_pooling_and_a_model_that_is_a_pool():
    assert str(wwae.replace_pooling(nn.Linear(2, 2), fuse=False)[1]) == "no max pooling found"
    pool, report = wwae.replace_pooling(nn.MaxPool2d(2), fuse=False)
    assert type(pool) is MaxPool2d
    assert str(report).startswith("(the model)  torch.nn.MaxPool2d -> wwae.nn.MaxPool2d")
    assert len(report.entries) == 1


def test_a_class_made_from_sequential_is_not_fused_and_named():
    class Block(nn.Sequential):
        pass

    _, report = wwae.replace_pooling(Block(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)))
    assert re.search(r"not fused: .*Block runs it, a class of its own", report.entries[0].fusion)


def test_swapping_twice_changes_nothing_more():
    once, _ = wwae.replace_pooling(Pair())
    twice, report = wwae.replace_pooling(once)
    assert type(twice.pool) is SwitchPool2d
    assert entry(report, "pool").reason == "hands on switches already"
    assert torch.equal(twice(X), once(X))


def test_pairs_of_drop_ins_are_swapped_too():
    model = Pair()
    model.pool, model.unpool = MaxPool2d(2, return_indices=True), MaxUnpool2d(2)
    after, _ = wwae.replace_pooling(model)
    assert type(after.pool) is SwitchPool2d
    assert torch.equal(after(X), model(X))


def test_inplace_changes_the_model_itself_and_slices_and_lists_see_it():
    features = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 3, 1))
    front, pools = features[:3], [features[2]]
    expected = features(X)
    model, _ = wwae.replace_pooling(features, inplace=True)
    assert model is features
    assert front[2] is pools[0] is features[2]
    assert type(front[2]) is MaxPool2d
    torch.testing.assert_close(features(X), expected)
    sliced, report = wwae.replace_pooling(nn.Sequential(nn.Conv2d(3, 3, 3), nn.MaxPool2d(2), nn.ReLU())[:2])
    assert [type(module) for module in sliced] == [nn.Conv2d, MaxPool2d]
    assert len(report.entries) == 1


def test_names_state_dict_mode_and_attributes_stay():
    before = Pair()
    before.pool.note = "mine"
    before.pool.eval()
    after, _ = wwae.replace_pooling(before)
    assert [name for name, _ in after.named_modules()] == [name for name, _ in before.named_modules()]
    assert after.state_dict().keys() == before.state_dict().keys()
    assert after.pool.note == "mine"
    assert [module.training for module in after.modules()] == [module.training for module in before.modules()]
    assert repr(after.unpool) == repr(before.unpool)
    assert repr(after.pool) == repr(before.pool).replace("MaxPool2d", "SwitchPool2d")
    before.load_state_dict(after.state_dict())


def test_the_result_can_be_copied_pickled_and_saved():
    model, _ = wwae.replace_pooling(Pair())
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(buffer, weights_only=False)):
        assert type(copied.pool) is SwitchPool2d
        assert torch.equal(copied(X), model(X))


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning", "ignore:.*deprecated:DeprecationWarning")
def test_scripted_pools_are_left_alone():
    scripted = torch.jit.script(nn.Sequential(nn.MaxPool2d(2), nn.ReLU()))
    after, report = wwae.replace_pooling(nn.Sequential(scripted))
    assert [(e.name, e.reason) for e in report.entries] == [("0.0", "compiled by TorchScript")]
    assert torch.equal(after(X), F.max_pool2d(X, 2).relu())


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_quantized_values_are_pooled_by_pytorch():
    model = nn.Sequential(torch.ao.nn.quantized.MaxPool2d(2))
    quantized = torch.quantize_per_tensor(X, 0.1, 10, torch.quint8)
    after, _ = wwae.replace_pooling(model)
    assert torch.equal(after(quantized).int_repr(), model(quantized).int_repr())


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match=r"replace_pooling: expected model to be a torch.nn.Module, got function"):
        wwae.replace_pooling(F.max_pool2d)
