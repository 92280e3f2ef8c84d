"""The compiled backends as functions on CPU tensors, with poisoned output memory."""

import pytest
import torch

import wwae


def _moved(value, device):
    return value.to(device) if isinstance(value, torch.Tensor) else value


@pytest.fixture(params=["cpu", pytest.param("triton", marks=pytest.mark.gpu), pytest.param("cuda", marks=pytest.mark.gpu)])
def kernel(request):
    """``kernel(name)`` runs ``torch.ops.wwae.<name>`` in one backend, wherever its arguments lie, and brings the results back.

    ``torch.empty`` gives NaN and the largest integers meanwhile, so that an element no kernel writes is seen.
    """
    backend = request.param
    device = "cpu" if backend == "cpu" else "cuda"
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory

    def run(name):
        def call(*arguments):
            results = getattr(torch.ops.wwae, name)(*(_moved(argument, device) for argument in arguments))
            return _moved(results, "cpu") if isinstance(results, torch.Tensor) else tuple(_moved(r, "cpu") for r in results)

        return call

    with wwae.use_backend(backend):
        yield run
    torch.use_deterministic_algorithms(False)
