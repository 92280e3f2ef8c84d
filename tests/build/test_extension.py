"""wwae._extension: which library is loaded, or why none is."""

import pytest
import torch

from wwae import _extension


@pytest.fixture
def fresh():
    """The real answers are cached for the process; a test that changes them starts and ends without."""

    def forget():
        _extension.cpu_library.cache_clear()
        _extension.cuda_library.cache_clear()

    forget()
    yield
    forget()


def test_cpu_library_is_the_level_of_pytorch():
    library = _extension.cpu_library()
    assert library.reason is None and library.cause is None
    capability = torch.backends.cpu.get_cpu_capability()
    assert library.level == {"AVX512": "avx512", "AVX2": "avx2"}.get(capability, "baseline")
    library.require()


def test_missing_library_says_so(monkeypatch, tmp_path, fresh):
    monkeypatch.setattr(_extension, "_DIRECTORY", tmp_path)
    library = _extension.cpu_library()
    assert library.level is None
    with pytest.raises(RuntimeError, match=r"the cpu kernels are not available: not built.*torch \d.*WWAE_BACKEND=reference"):
        library.require()


def test_damaged_library_keeps_its_cause(monkeypatch, tmp_path, fresh):
    monkeypatch.setattr(_extension, "_DIRECTORY", tmp_path)
    for level in ("baseline", "avx2", "avx512"):
        (tmp_path / f"libwwae_cpu_{level}.so").write_bytes(b"not a library")
    library = _extension.cpu_library()
    assert isinstance(library.cause, OSError)
    assert "failed to load" in library.reason
    with pytest.raises(RuntimeError, match="failed to load") as raised:
        library.require()
    assert raised.value.__cause__ is library.cause


def test_cuda_library_needs_a_pytorch_with_cuda(monkeypatch, fresh):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert _extension.cuda_library().reason == "this PyTorch was built without CUDA"


def test_cuda_library_that_was_left_out_gives_the_reason_of_the_build(monkeypatch, tmp_path, fresh):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(_extension, "_DIRECTORY", tmp_path)
    monkeypatch.setattr(_extension, "build_info", lambda: {"cuda_left_out": "nvcc was not found"})
    assert _extension.cuda_library().reason == "not built: nvcc was not found"


def test_build_info_names_what_was_built():
    facts = _extension.build_info()
    assert set(facts) == {"version", "compiler", "torch", "cpu_levels", "cuda", "cuda_archs", "cuda_left_out"}
    assert "baseline" in facts["cpu_levels"].split(",")
    assert bool(facts["cuda"]) != bool(facts["cuda_left_out"])


def test_source_tree_without_build_information_imports(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wwae._C", None)  # as if it had never been built
    monkeypatch.delattr("wwae._C", raising=False)
    assert _extension.build_info() == {}
