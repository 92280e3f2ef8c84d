"""Models whose pool hands indices to an unpool, in ways easy and awkward, and what the tests ask of them."""

import torch
import torch.nn.functional as F
from torch import nn


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
