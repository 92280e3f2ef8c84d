"""Weights in Caffe's binary files, ``.caffemodel``: a message ``NetParameter`` of Caffe's ``caffe.proto``.

Layers come in two forms, ``layer`` and, in the files of the networks that were released up to 2014, ``layers`` (V1); a blob has a
shape of any length, or the four sizes of old files. Importing this needs protobuf, from 7.34 on, which hands the values of a field
to NumPy at once: older ones make a Python number of each.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from torch import Tensor

__all__ = ["read_caffemodel"]

# What is read of each message: a field's name, number and type. Other fields are passed over.
_MESSAGES = {
    "NetParameter": (("layers", 2, "repeated V1LayerParameter"), ("layer", 100, "repeated LayerParameter")),
    "V1LayerParameter": (
        ("name", 4, "string"),
        ("type", 5, "int32"),
        ("blobs", 6, "repeated BlobProto"),
        ("inner_product_param", 17, "InnerProductParameter"),
    ),
    "LayerParameter": (
        ("name", 1, "string"),
        ("type", 2, "string"),
        ("blobs", 7, "repeated BlobProto"),
        ("inner_product_param", 117, "InnerProductParameter"),
    ),
    "InnerProductParameter": (("transpose", 6, "bool"),),
    "BlobProto": (
        ("num", 1, "int32"),
        ("channels", 2, "int32"),
        ("height", 3, "int32"),
        ("width", 4, "int32"),
        ("data", 5, "repeated float"),
        ("shape", 7, "BlobShape"),
        ("double_data", 8, "repeated double"),
    ),
    "BlobShape": (("dim", 1, "repeated int64"),),
}

_INNER_PRODUCT = (14, "InnerProduct")  # the type of V1, an enumeration, and that of today


def read_caffemodel(path: Path) -> dict[str, Tensor]:
    """Read the blobs of all layers that have some, in the order of the file.

    A layer's first blob is named ``NAME.weight``, its second ``NAME.bias``, one after those ``NAME.blobs.2``. An inner product's
    weights come as (out, in), also where the file has them transposed or under the four sizes of old files, and a bias as (out,).
    Values are float32, or float64 in files of such.

    Args:
        path (Path): the file; about twice its size of memory is in use while it is read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, is damaged, or has no weights.
    """
    network = _network_class()()
    try:
        network.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ValueError(str(error)) from error
    state = {}
    for layer in (*network.layers, *network.layer):
        for index, blob in enumerate(layer.blobs):
            name = f"{layer.name}.{('weight', 'bias')[index] if index < 2 else f'blobs.{index}'}"
            values = _values(name, blob, _shape(blob, index, layer.type in _INNER_PRODUCT))
            state[name] = values.T.contiguous() if index == 0 and layer.inner_product_param.transpose else values
    if not state:
        raise ValueError("no layer with weights, in Caffe's form of today or V1")
    return state


def _shape(blob: Any, index: int, of_inner_product: bool) -> tuple[int, ...]:
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    sizes = (blob.num, blob.channels, blob.height, blob.width)
    leading = 3 if index == 1 else 2 if of_inner_product else 0
    return sizes[leading:] if sizes[:leading] == (1,) * leading else sizes


def _values(name: str, blob: Any, shape: tuple[int, ...]) -> Tensor:
    values = np.asarray(blob.data, np.float32) if blob.data else np.asarray(blob.double_data, np.float64)
    if values.size != math.prod(shape):
        raise ValueError(f"{name} holds {values.size} values for the shape {list(shape)}")
    return torch.from_numpy(values).reshape(shape)


def _network_class() -> Any:
    """Make the class of ``NetParameter``, in a pool of its own, which another package's ``caffe.proto`` cannot disturb."""
    file = FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, words in fields:
            *repeated, kind = words.split()
            label = FieldDescriptorProto.LABEL_REPEATED if repeated else FieldDescriptorProto.LABEL_OPTIONAL
            field = message.field.add(name=name, number=number, label=label)
            if kind in _MESSAGES:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".caffe.{kind}"
            else:
                field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))
