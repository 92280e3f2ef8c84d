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
def products_of_the_hardware(monkeypatch):
    """The interpreter holds bfloat16 as integers, and multiplies matrices of those; a GPU multiplies the numbers."""
    import triton.language as tl
    from triton.runtime import interpreter

    create_dot = interpreter.InterpreterBuilder.create_dot

    def widened(operand):
        if operand.dtype.scalar != tl.bfloat16:
            return operand
        wide = torch.from_numpy(operand.data.copy()).view(torch.bfloat16).float().numpy()
        return interpreter.TensorHandle(wide, tl.float32)

    def create_wide_dot(self, a, b, *arguments):
        return create_dot(self, widened(a), widened(b), *arguments)

    monkeypatch.setattr(interpreter.InterpreterBuilder, "create_dot", create_wide_dot)


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
