"""replace_pooling: which modules it swaps, which it leaves alone and why, and that no number changes."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import wwae
from wwae.nn import MaxPool2d, MaxUnpool2d, SwitchPool2d
from wwae.ops import Switches


class Pair(nn.Module):
    """A pool, a convolution and an unpool; subclasses say what happens to the indices on the way."""

    def __init__(self, **pool_arguments):
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True, **pool_arguments)
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.unpool = nn.MaxUnpool2d(2, **{key: value for key, value in pool_arguments.items() if key == "padding"})

    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(self.convolution(values), indices)


class Sized(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(self.convolution(values), indices, output_size=x.size())


class Packed(Pair):
    def forward(self, x):
        packed = self.pool(x)
        return self.unpool(**dict(zip(("input", "indices"), (self.convolution(packed[0]), *packed[1:]), strict=True)))


class Arithmetic(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(self.convolution(values), indices + 0)


class Shape(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(self.convolution(values), indices).flatten(1) * indices.shape[0]


class Stored(Pair):
    def forward(self, x):
        values, self.indices = self.pool(x)
        return self.unpool(self.convolution(values), self.indices)


class StoredInEvaluation(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        if not self.training:
            self.kept = [{"indices": indices}]
        return self.unpool(self.convolution(values), indices)


class Returned(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(self.convolution(values), indices), indices


class ReturnedInTraining(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        result = self.unpool(self.convolution(values), indices)
        return (result, indices) if self.training else result


class ReturnedPacked(Pair):
    def forward(self, x):
        return self.pool(x)


class Unused(Pair):
    def forward(self, x):
        return self.convolution(self.pool(x)[0])


class Functional(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        return F.max_unpool2d(self.convolution(values), indices, 2)


class Swallowed(Pair):
    def __init__(self):
        super().__init__()
        self.identity = nn.Identity()

    def forward(self, x):
        values, indices = self.pool(x)
        return self.unpool(self.convolution(values), self.identity(indices))


class Untraceable(Pair):
    def forward(self, x):
        values, indices = self.pool(x)
        if values.sum() > -1e9:
            values = self.convolution(values)
        return self.unpool(values, indices)


class CalledTwice(Pair):
    """One pool and one unpool serve two stages."""

    def forward(self, x):
        low, low_indices = self.pool(x)
        top, top_indices = self.pool(self.convolution(low))
        middle = self.unpool(self.convolution(top), top_indices)
        return self.unpool(middle + low, low_indices)


class TwoNames(Pair):
    def __init__(self):
        super().__init__()
        self.same_pool = self.pool

    def forward(self, x):
        values, indices = self.pool(x)
        top, top_indices = self.same_pool(values)
        return self.unpool(self.unpool(top, top_indices), indices)


class AsksForClasses(nn.Module):
    """A loop over layers that branches on their class, as converted VGG encoders have it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2, return_indices=True), nn.Conv2d(3, 3, 3, padding=1), nn.MaxUnpool2d(2)]
        )

    def forward(self, x):
        where = []
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                x, indices = layer(x)
                where.append(indices)
            elif isinstance(layer, nn.MaxUnpool2d):
                x = layer(x, where.pop())
            else:
                x = layer(x)
        return x


def entry(report, name):
    return next(entry for entry in report.entries if name in entry.name.split(", "))


def tensors(result):
    return [leaf for leaf in torch.utils._pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor)]


def assert_same_numbers(before, after, x, training=False):
    """Outputs and all gradients, bit for bit."""
    results = []
    for model in (before.train(training), after.train(training)):
        image = x.detach().clone().requires_grad_()
        outputs = tensors(model(image))
        loss = sum((output * torch.arange(output.numel()).reshape(output.shape).remainder(7)).sum() for output in outputs)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        results.append((outputs, torch.autograd.grad(loss, [image, *parameters], allow_unused=True)))
    (outputs, gradients), (new_outputs, new_gradients) = results
    for a, b in zip([*outputs, *gradients], [*new_outputs, *new_gradients], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.shape, a.dtype, a.stride()) == (b.shape, b.dtype, b.stride())
            assert torch.equal(a, b)


X = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


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
    assert len(lines) == 7
    assert lines[0].startswith(f"custom           {Custom.__module__}.test_what_is_left_alone_and_why")
    assert "adaptive         torch.nn.AdaptiveMaxPool2d, left alone" in str(report)
    assert "(the model)      torch.nn.functional.max_pool2d, left alone" in str(report)
    assert lines[-1] == "Convolution, batch normalisation, ReLU and pooling stay separate layers: this version fuses no chains."


def test_nothing_is_fused_with_either_setting():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)).eval()
    for fuse in (True, False):
        after, report = wwae.replace_pooling(model, fuse=fuse)
        assert [type(module) for module in after] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, MaxPool2d]
        assert [e.name for e in report.entries] == ["3"]
        assert ("fuses no chains" in str(report)) is fuse
        assert torch.equal(after(X), model(X))


def test_a_model_without_pooling_and_a_model_that_is_a_pool():
    assert str(wwae.replace_pooling(nn.Linear(2, 2), fuse=False)[1]) == "no max pooling found"
    pool, report = wwae.replace_pooling(nn.MaxPool2d(2), fuse=False)
    assert type(pool) is MaxPool2d
    assert str(report).startswith("(the model)  torch.nn.MaxPool2d -> wwae.nn.MaxPool2d")


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
    assert torch.equal(features(X), expected)
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
