"""Switch pooling for PyTorch: max pooling that records where each maximum stood, and unpooling that puts values back there.

``wwae.ops`` holds the operations, ``wwae.nn`` the modules, ``wwae.models`` the networks built on them.
"""

from importlib.metadata import PackageNotFoundError, version

from wwae import models, nn, ops
from wwae.models import augment
from wwae.nn import replace_pooling
from wwae.ops.backends import backends, show_backends, use_backend

try:
    __version__ = version("wwae")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["augment", "backends", "models", "nn", "ops", "replace_pooling", "show_backends", "use_backend"]
