"""Modules of the pooling operations: PyTorch's ``MaxPool2d`` and ``MaxUnpool2d``, and those that hand on compact switches."""

from wwae.nn.batch_norm_relu_pool2d import BatchNormReLUPool2d
from wwae.nn.conv_relu_pool2d import ConvReLUPool2d
from wwae.nn.fixed_unpool2d import FixedUnpool2d
from wwae.nn.fused_sequential import FusedSequential
from wwae.nn.max_pool2d import MaxPool2d
from wwae.nn.max_unpool2d import MaxUnpool2d
from wwae.nn.replace_pooling import PoolingReport, Replacement, replace_pooling
from wwae.nn.soft_argmax_pool2d import SoftArgmaxPool2d
from wwae.nn.soft_argmax_unpool2d import SoftArgmaxUnpool2d
from wwae.nn.switch_pool2d import SwitchPool2d
from wwae.nn.switch_unpool2d import SwitchUnpool2d
from wwae.nn.unpool_conv2d import UnpoolConv2d

__all__ = [
    "BatchNormReLUPool2d",
    "ConvReLUPool2d",
    "FixedUnpool2d",
    "FusedSequential",
    "MaxPool2d",
    "MaxUnpool2d",
    "PoolingReport",
    "Replacement",
    "SoftArgmaxPool2d",
    "SoftArgmaxUnpool2d",
    "SwitchPool2d",
    "SwitchUnpool2d",
    "UnpoolConv2d",
    "replace_pooling",
]
