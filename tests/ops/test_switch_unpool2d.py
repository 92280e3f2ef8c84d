"""Unpooling with switches: kernels against the reference, and what the docstring promises."""

import pytest
import torch
from kernel_cases import check_switch_unpool2d
from ops.grid import every_case, every_dtype, every_layout, every_overlap

import wwae
from wwae.ops import Switches, switch_pool2d, switch_unpool2d


@every_case
@every_dtype
@every_layout
@every_overlap
@pytest.mark.parametrize("corrupt", [False, True], ids=["pooled", "corrupt"])
def test_kernels_equal_the_reference(kernel, case, dtype, channels_last, overlap, corrupt):
    check_switch_unpool2d(kernel("switch_unpool2d"), case, dtype, channels_last, overlap, corrupt)


@pytest.mark.parametrize(("overlap", "value"), [("last", 3.0), ("sum", 6.0), ("mean", 2.0)])
def test_windows_that_meet(overlap, value):
    x = torch.zeros(1, 1, 1, 4)
    x[..., 2] = 1
    _, switches = switch_pool2d(x, (1, 3), (1, 1), (0, 1))
    pooled = torch.tensor([[[[0.0, 1.0, 2.0, 3.0]]]])
    full = switch_unpool2d(pooled, switches, overlap=overlap)
    assert full.tolist() == [[[[0.0, 0.0, value, 0.0]]]]


@every_overlap
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_values_of_disjoint_windows_keep_the_sign_of_zero(overlap, backend):
    switches = Switches(torch.zeros(1, 1, 1, 1, dtype=torch.uint8), 2, input_size=2)
    with wwae.use_backend(backend):
        full = switch_unpool2d(torch.tensor([[[[-0.0]]]]), switches, overlap=overlap)
    assert full.signbit().tolist() == [[[[True, False], [False, False]]]]


@every_overlap
def test_equals_pytorch_where_windows_are_disjoint(overlap):
    x = torch.randn(2, 3, 9, 11)
    values, switches = switch_pool2d(x, 2)
    pooled, indices = torch.nn.functional.max_pool2d(x, 2, return_indices=True)
    expected = torch.nn.functional.max_unpool2d(pooled, indices, 2, output_size=(9, 11))
    assert torch.equal(switch_unpool2d(values, switches, overlap=overlap), expected)


def test_last_equals_pytorch_where_windows_overlap():
    x = torch.randn(2, 3, 9, 11)
    _, switches = switch_pool2d(x, 3, 2, 1)
    pooled, indices = torch.nn.functional.max_pool2d(x, 3, 2, 1, return_indices=True)
    pooled = torch.randn_like(pooled)
    expected = torch.nn.functional.max_unpool2d(pooled, indices, 3, 2, 1, output_size=(9, 11))
    assert torch.equal(switch_unpool2d(pooled, switches), expected)


def test_low_precision_sums_are_rounded_once():
    x = torch.zeros(1, 1, 1, 257)
    x[..., 128] = 1
    _, switches = switch_pool2d(x, (1, 257), (1, 1), (0, 128))
    ones = torch.ones(1, 1, 1, 257, dtype=torch.bfloat16)
    # One by one in bfloat16 the sum would stay at 256.
    assert switch_unpool2d(ones, switches, overlap="sum").max() == torch.tensor(257.0).bfloat16()
    assert switch_unpool2d(3 * ones, switches, overlap="sum").max() == torch.tensor(771.0).bfloat16()


def test_unbatched_and_empty():
    values, switches = switch_pool2d(torch.randn(3, 6, 6), 2)
    assert switch_unpool2d(values, switches).shape == (3, 6, 6)
    values, switches = switch_pool2d(torch.randn(0, 3, 6, 6), 2)
    assert switch_unpool2d(values, switches).shape == (0, 3, 6, 6)


def test_output_size_is_only_a_check():
    values, switches = switch_pool2d(torch.randn(1, 2, 7, 7), 2)
    for size in ((7, 7), 7, torch.Size((1, 2, 7, 7)), [7, 7]):
        assert switch_unpool2d(values, switches, output_size=size).shape == (1, 2, 7, 7)
    with pytest.raises(ValueError, match=r"switch_unpool2d: expected output_size \(7, 7\), .* got \(8, 8\)"):
        switch_unpool2d(values, switches, output_size=(8, 8))


def test_errors_name_argument_rule_and_value():
    values, switches = switch_pool2d(torch.randn(1, 8, 8, 8), 2)
    with pytest.raises(RuntimeError, match=r"switches were recorded for \(1, 8, 4, 4\) but x has shape \(1, 8, 3, 4\)"):
        switch_unpool2d(values[:, :, :3], switches)
    with pytest.raises(ValueError, match="expected overlap to be one of 'last', 'sum', 'mean', got 'max'"):
        switch_unpool2d(values, switches, overlap="max")
    with pytest.raises(TypeError, match="expected switches to be the Switches of a pooling, got Tensor"):
        switch_unpool2d(values, switches.indices())
    with pytest.raises(RuntimeError, match=r"expected x of dtype .* got torch.int64"):
        switch_unpool2d(values.long(), switches)
    with pytest.raises(RuntimeError, match="expected switches on cpu, the device of x, got meta"):
        switch_unpool2d(values, switches.to("meta"))


@pytest.mark.parametrize("offsets", [torch.zeros(1, 2, 3, 3, dtype=torch.uint8), torch.zeros(1, 2, 2, 2, dtype=torch.int16)])
def test_direct_calls_are_refused_before_memory_is_touched(offsets):
    with pytest.raises(RuntimeError, match="switch_unpool2d: expected"):
        torch.ops.wwae.switch_unpool2d(torch.zeros(1, 2, 2, 2), offsets, [2, 2], [2, 2], [0, 0], [1, 1], [4, 4], "last")


def test_switches_made_by_hand():
    offsets = torch.tensor([[[[0, 3], [2, 255]]]], dtype=torch.uint8)
    switches = Switches(offsets, 2, input_size=(4, 4))
    full = switch_unpool2d(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), switches)
    assert full.tolist() == [[[[1, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0]]]]
