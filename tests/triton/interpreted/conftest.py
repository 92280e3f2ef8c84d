"""The kernels run in Triton's interpreter here, which is chosen by TRITON_INTERPRET=1 before triton is first imported.

In an ordinary run nothing is collected from this folder: `tests/triton/test_interpreter.py` runs it in a process of its
own. By hand: `TRITON_INTERPRET=1 pytest tests/triton/interpreted`.
"""

import os

import pytest
import torch

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def rounding_of_the_hardware(monkeypatch):
    """The interpreter cuts float32 off to bfloat16, where a GPU rounds to nearest even."""
    import triton.language as tl
    from triton.runtime import interpreter

    convert = interpreter._convert_float

    def convert_rounding(data, source, target, rounding_mode):
        if source == tl.float32 and target == tl.bfloat16:
            return torch.from_numpy(data).to(torch.bfloat16).view(torch.uint16).numpy()
        return convert(data, source, target, rounding_mode)

    monkeypatch.setattr(interpreter, "_convert_float", convert_rounding)


@pytest.fixture(autouse=True)
def poisoned_memory():
    """`torch.empty` gives NaN and the largest integers, so that an element no program writes is seen."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)
    torch.set_num_threads(threads)
