"""Files of Caffe, old and new: the weights come as they were written, and what is wrong with a file is said."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe_files import Layer, bytes_field, caffe_bytes

from wwae.models.state_files import WeightsError, read_state_dict

GENERATOR = np.random.default_rng(5)


def values(*shape: int) -> np.ndarray:
    return GENERATOR.standard_normal(shape).astype(np.float32)


# conv1 has one channel in and out, as an inner product of old files has in its four sizes.
LAYERS = (
    Layer("data", "Data"),
    Layer("conv1", "Convolution", (values(1, 1, 3, 3), values(1))),
    Layer("conv2", "Convolution", (values(4, 1, 3, 2), values(4))),
    Layer("relu", "ReLU"),
    Layer("fc6", "InnerProduct", (values(5, 200), values(5))),
    Layer("fc7", "InnerProduct", (values(1, 5),)),
)
STATE = {
    f"{layer.name}.{kind}": torch.from_numpy(blob)
    for layer in LAYERS
    for kind, blob in zip(("weight", "bias"), layer.blobs, strict=False)
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.caffemodel"


@pytest.mark.parametrize("old", [True, False], ids=["V1", "today"])
@pytest.mark.parametrize("four_sizes", [True, False], ids=["four sizes", "shape"])
@pytest.mark.parametrize(("double", "packed"), [(False, True), (True, True), (False, False)], ids=["float", "double", "unpacked"])
def test_every_form_gives_the_same_weights(path: Path, old: bool, four_sizes: bool, double: bool, packed: bool) -> None:
    path.write_bytes(caffe_bytes(LAYERS, old, four_sizes, double, packed))
    read = read_state_dict(path)
    assert list(read) == list(STATE)
    for name, expected in STATE.items():
        assert read[name].dtype == (torch.float64 if double else torch.float32)
        assert read[name].shape == expected.shape and torch.equal(read[name].float(), expected)
        read[name].zero_()  # writable: they become parameters


@pytest.mark.parametrize("old", [True, False], ids=["V1", "today"])
def test_transposed_weights_are_turned_around(path: Path, old: bool) -> None:
    weights, bias = values(4, 3), values(3)
    path.write_bytes(caffe_bytes([Layer("fc6", "InnerProduct", (weights, bias), transposed=True)], old=old, four_sizes=old))
    read = read_state_dict(path)
    assert torch.equal(read["fc6.weight"], torch.from_numpy(weights.T)) and torch.equal(read["fc6.bias"], torch.from_numpy(bias))


def test_blobs_after_the_second_are_numbered(path: Path) -> None:
    path.write_bytes(caffe_bytes([Layer("bn1", "BatchNorm", (values(2), values(2), values(1)))]))
    assert list(read_state_dict(path)) == ["bn1.weight", "bn1.bias", "bn1.blobs.2"]


def test_a_file_that_was_cut_short_never_gives_half_a_layer(path: Path) -> None:
    whole = caffe_bytes([layer for layer in LAYERS if layer.name != "fc6"], old=True, four_sizes=True)
    layers_read = set()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        try:
            read = read_state_dict(path)
        except WeightsError as error:
            assert str(error).startswith(f"{path}: damaged, or not a network of Caffe: ")
        else:  # cut between two layers; the network misses those after it
            layers_read.add(tuple(read))
            assert all(torch.equal(value, STATE[name]) for name, value in read.items())
    conv1, conv2 = ("conv1.weight", "conv1.bias"), ("conv2.weight", "conv2.bias")
    assert layers_read == {conv1, (*conv1, *conv2)}


@pytest.mark.parametrize(("content", "message"), [
    (b"", "no layer with weights"),
    (caffe_bytes(LAYERS[:1]), "no layer with weights"),
    (b"name: 'a network'\nlayer { name: 'conv1' }\n", ""),
    (caffe_bytes(LAYERS)[:-1], ""),
    (bytes(range(256)), ""),
    # The layer's one value is said to be of the shape (2,).
    (bytes_field(100, bytes_field(1, b"a") + bytes_field(7, bytes_field(5, bytes(4)) + bytes_field(7, bytes_field(1, b"\x02")))),
     "a.weight holds 1 values for the shape [2]"),
    # It has no shape at all: four sizes of 0.
    (bytes_field(2, bytes_field(4, b"a") + bytes_field(6, bytes_field(5, bytes(4)))),
     "a.weight holds 1 values for the shape [0, 0, 0, 0]"),
])  # fmt: skip
def test_damaged_and_other_files_are_named(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=f"^{re.escape(f'{path}: damaged, or not a network of Caffe: {message}')}"):
        read_state_dict(path)


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.caffemodel: cannot be read: No such file"):
        read_state_dict(path)


def test_the_package_that_reads_them_is_named_where_it_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(caffe_bytes(LAYERS))
    monkeypatch.delitem(sys.modules, "wwae.models.caffe_file", raising=False)
    monkeypatch.setitem(sys.modules, "google.protobuf.descriptor_pb2", None)
    with pytest.raises(WeightsError, match=r"a\.caffemodel: cannot be read: .*protobuf.*: pip install 'wwae\[caffe\]' brings it$"):
        read_state_dict(path)
