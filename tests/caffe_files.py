"""Caffe's binary files, byte for byte from the wire format of protocol buffers and the field numbers of ``caffe.proto``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

OLD_TYPES = {"Convolution": 4, "Data": 5, "InnerProduct": 14, "ReLU": 18}


class Layer(NamedTuple):
    """A layer of a network: its name, its type as Caffe writes it today, and its blobs; an inner product may have its weights the
    other way around."""

    name: str
    type: str
    blobs: tuple[np.ndarray, ...] = ()
    transposed: bool = False


def varint(number: int) -> bytes:
    """A number of 0 or more in groups of seven bits, the lowest first; each byte but the last has its highest bit set."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])


def number_field(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def bytes_field(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def blob_bytes(values: np.ndarray, four_sizes: bool = False, double: bool = False, packed: bool = True) -> bytes:
    """``BlobProto``: a shape, or the four sizes of old files, padded with ones in front; then float32 or float64 values."""
    if four_sizes:
        sizes = (1,) * (4 - values.ndim) + values.shape
        shape = b"".join(number_field(field, size) for field, size in enumerate(sizes, 1))
    else:
        shape = bytes_field(7, bytes_field(1, b"".join(varint(size) for size in values.shape)))
    content = values.astype("<f8" if double else "<f4").tobytes()
    if packed:
        return shape + bytes_field(8 if double else 5, content)
    return shape + b"".join(varint(5 << 3 | 5) + content[at : at + 4] for at in range(0, len(content), 4))


def caffe_bytes(
    layers: Iterable[Layer], old: bool = False, four_sizes: bool = False, double: bool = False, packed: bool = True
) -> bytes:
    """``NetParameter``: ``layer``, or with ``old`` the ``layers`` of V1; among them fields that a reader of weights passes over."""
    network = bytes_field(1, b"a network") + bytes_field(3, b"data") + number_field(4, 10)
    for layer in layers:
        blobs = [blob_bytes(values, four_sizes, double, packed) for values in layer.blobs]
        name = layer.name.encode()
        inner_product = number_field(1, 5) + number_field(6, layer.transposed)
        if old:
            fields = [bytes_field(2, b"data"), bytes_field(3, name), bytes_field(4, name), number_field(5, OLD_TYPES[layer.type])]
            fields += [bytes_field(6, blob) for blob in blobs] + [
                bytes_field(10, number_field(1, 64)),
                bytes_field(17, inner_product),
            ]
        else:
            fields = [bytes_field(1, name), bytes_field(2, layer.type.encode()), bytes_field(3, b"data"), bytes_field(4, name)]
            fields += [bytes_field(7, blob) for blob in blobs] + [
                bytes_field(106, number_field(1, 64)),
                bytes_field(117, inner_product),
            ]
        network += bytes_field(2 if old else 100, b"".join(fields))
    return network
