"""Switch pooling and unpooling as PyTorch operations ``wwae::<operation>``, and the functions a program calls."""

from wwae.ops.batch_norm_relu_pool2d import batch_norm_relu_pool2d
from wwae.ops.bias_relu_pool2d import bias_relu_pool2d
from wwae.ops.conv_relu_pool2d import conv_relu_pool2d
from wwae.ops.fixed_unpool2d import fixed_unpool2d
from wwae.ops.max_pool2d import max_pool2d
from wwae.ops.max_unpool2d import max_unpool2d
from wwae.ops.soft_argmax_pool2d import soft_argmax_pool2d
from wwae.ops.soft_argmax_unpool2d import soft_argmax_unpool2d
from wwae.ops.switch_gather2d import SwitchGather2d as _SwitchGather2d  # noqa: F401  (before the operations it closes)
from wwae.ops.switch_pool2d import switch_pool2d
from wwae.ops.switch_unpool2d import switch_unpool2d
from wwae.ops.switches import Switches
from wwae.ops.unpool_conv2d import unpool_conv2d

# isort: split
from wwae.ops import _flop_formulas  # noqa: F401  (tells PyTorch's counter what a convolution's operations cost)
from wwae.ops import backends as _backends  # noqa: F401  (loads the libraries, which need the schemas)

__all__ = [
    "Switches",
    "batch_norm_relu_pool2d",
    "bias_relu_pool2d",
    "conv_relu_pool2d",
    "fixed_unpool2d",
    "max_pool2d",
    "max_unpool2d",
    "soft_argmax_pool2d",
    "soft_argmax_unpool2d",
    "switch_pool2d",
    "switch_unpool2d",
    "unpool_conv2d",
]
