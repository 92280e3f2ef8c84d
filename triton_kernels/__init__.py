"""Triton kernels: `<stem>.py` holds `<stem>_triton`, with the signature of the operation `wwae::<stem>`.

They run on CUDA tensors, and on CPU tensors under Triton's interpreter (TRITON_INTERPRET=1 before triton is imported).
"""

from .batch_norm_relu_pool2d import batch_norm_relu_pool2d_triton
from .batch_norm_relu_pool2d_backward import batch_norm_relu_pool2d_backward_triton
from .bias_relu_pool2d import bias_relu_pool2d_triton
from .bias_relu_pool2d_backward import bias_relu_pool2d_backward_triton
from .conv_relu_pool2d import conv_relu_pool2d_triton
from .fixed_unpool2d import fixed_unpool2d_triton
from .max_gather2d import max_gather2d_triton
from .max_pool2d import max_pool2d_triton
from .max_unpool2d import max_unpool2d_triton
from .soft_argmax_pool2d import soft_argmax_pool2d_triton
from .soft_argmax_pool2d_backward import soft_argmax_pool2d_backward_triton
from .soft_argmax_unpool2d import soft_argmax_unpool2d_triton
from .soft_argmax_unpool2d_backward import soft_argmax_unpool2d_backward_triton
from .switch_gather2d import switch_gather2d_triton
from .switch_pool2d import switch_pool2d_triton
from .switch_unpool2d import switch_unpool2d_triton
from .unpool_conv2d import unpool_conv2d_triton
from .unpool_conv2d_weight_backward import unpool_conv2d_weight_backward_triton

__all__ = [
    "batch_norm_relu_pool2d_backward_triton",
    "batch_norm_relu_pool2d_triton",
    "bias_relu_pool2d_backward_triton",
    "bias_relu_pool2d_triton",
    "conv_relu_pool2d_triton",
    "fixed_unpool2d_triton",
    "max_gather2d_triton",
    "max_pool2d_triton",
    "max_unpool2d_triton",
    "soft_argmax_pool2d_backward_triton",
    "soft_argmax_pool2d_triton",
    "soft_argmax_unpool2d_backward_triton",
    "soft_argmax_unpool2d_triton",
    "switch_gather2d_triton",
    "switch_pool2d_triton",
    "switch_unpool2d_triton",
    "unpool_conv2d_triton",
    "unpool_conv2d_weight_backward_triton",
]
