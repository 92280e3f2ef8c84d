"""PyTorch's pooling modules by another import: the same results, one byte a window kept for backward."""

import torch

from wwae.nn import MaxPool2d, MaxUnpool2d  # was: from torch.nn import MaxPool2d, MaxUnpool2d

pool, unpool = MaxPool2d(2, return_indices=True), MaxUnpool2d(2)
x = torch.randn(4, 16, 32, 32, requires_grad=True)
values, indices = pool(x)
restored = unpool(values, indices)
restored.sum().backward()
print(torch.equal(restored, torch.nn.functional.max_unpool2d(values, indices, 2)), "and", int(x.grad.sum()), "gradients flowed")
