"""What every test starts from: a fixed seed, and the folder of shared helpers on the path."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# `make test-long` takes the second; derandomised, a failure of today is a failure of tomorrow.
settings.register_profile("default", max_examples=100, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=3000, deadline=None, derandomize=True)
settings.load_profile("default")


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device, and this machine has none"))


@pytest.fixture(autouse=True, scope="session")
def choices_of_their_own(tmp_path_factory):
    """What is measured here stays here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WWAE_CACHE_DIR", str(tmp_path_factory.mktemp("choices")))
        yield


@pytest.fixture(autouse=True)
def fixed_seed():
    torch.manual_seed(0)
