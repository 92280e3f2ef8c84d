"""Data sets: the built-in digits, readers of published files, photographs with their crops, and semi-supervised splits."""

from wwae.data.cifar10 import load_cifar10
from wwae.data.crops import Crop, alexnet_crop, centre_crop, vgg_crop
from wwae.data.digits import load_digits
from wwae.data.idx import FASHION_MNIST, MNIST, IdxSource, load_idx, read_idx
from wwae.data.image_files import read_image
from wwae.data.images import DataError, ImageData
from wwae.data.load import load_images, load_pictures, load_staged_data, select_training_data
from wwae.data.photographs import CroppedPhotographs, PhotographData, Photographs, find_pictures, load_photographs
from wwae.data.splits import SemiSupervisedSplit, semi_supervised_split

__all__ = [
    "FASHION_MNIST",
    "MNIST",
    "Crop",
    "CroppedPhotographs",
    "DataError",
    "IdxSource",
    "ImageData",
    "PhotographData",
    "Photographs",
    "SemiSupervisedSplit",
    "alexnet_crop",
    "centre_crop",
    "find_pictures",
    "load_cifar10",
    "load_digits",
    "load_idx",
    "load_images",
    "load_photographs",
    "load_pictures",
    "load_staged_data",
    "read_idx",
    "read_image",
    "select_training_data",
    "semi_supervised_split",
    "vgg_crop",
]
