import os
from pathlib import Path

import pytest
import torch
from emulation.build import build

# A process under a sanitizer is given the library, and starts no other process beside the sanitizer.
LIBRARY = os.environ.get("WWAE_EMULATION_LIBRARY")


@pytest.fixture(scope="session")
def library() -> Path:
    """The emulated kernels: the plain build, or the one that sanitizers.py names."""
    return Path(LIBRARY) if LIBRARY else build("plain")


@pytest.fixture(autouse=True)
def poisoned_memory():
    """`torch.empty` gives NaN and the largest integers, so that an element no thread writes is seen."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
