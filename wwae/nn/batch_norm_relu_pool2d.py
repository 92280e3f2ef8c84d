"""Batch normalisation, ReLU and max pooling in one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wwae.ops import Switches, batch_norm_relu_pool2d

__all__ = ["BatchNormReLUPool2d"]

torch.fx.wrap("batch_norm_relu_pool2d")


class BatchNormReLUPool2d(torch.nn.modules.batchnorm._NormBase):
    """``BatchNorm2d``, ``ReLU`` and ``MaxPool2d`` in one pass, with switches (Ioffe and Szegedy 2015, arXiv:1502.03167).

    Parameters, buffers, their names and initial values, and what training makes of the running statistics are those of
    ``torch.nn.BatchNorm2d``, so a state dict of that layer loads here, and one of this loads there. It is no subclass of it:
    ``torch.nn.SyncBatchNorm.convert_sync_batchnorm``, which would put another layer in its place and lose ReLU and pooling, leaves
    it alone.

    Args:
        num_features (int): channels C.
        kernel_size (int or pair): height and width of the window, in elements.
        stride (int or pair): distance of neighbouring windows. Default: ``kernel_size``.
        padding (int or pair): elements added on each side, never chosen; at most half the extent of the window. Default: 0.
        dilation (int or pair): distance of neighbouring taps. Default: 1.
        ceil_mode (bool): also pool a last window that hangs over the edge. Default: False.
        eps (float): added to the variance. Default: 1e-5.
        momentum (float or None): weight of a batch in the running statistics; None averages all batches alike. Default: 0.1.
        affine (bool): learn ``weight`` and ``bias``. Default: True.
        track_running_stats (bool): keep running statistics; without, evaluation takes those of its batch. Default: True.
        device, dtype: of the parameters and buffers.

    Shape:
        - Input (Tensor[N, C, H, W] or Tensor[C, H, W]): float32, float64, bfloat16 or float16.
        - Output (Tensor[N, C, OH, OW], Switches): values in the dtype and memory format of the input, and their switches.

    Raises:
        TypeError, ValueError, RuntimeError: in ``forward``, as :func:`wwae.ops.batch_norm_relu_pool2d`.

    Example:
        >>> layer = wwae.nn.BatchNormReLUPool2d(1, 2).eval()
        >>> values, switches = layer(torch.tensor([[[[1.0, 5.0], [3.0, 2.0]]]]))
        >>> round(values.item(), 3), switches.offsets.item()
        (5.0, 1)
    """

    def __init__(
        self,
        num_features: int,
        kernel_size: int | tuple[int, ...],
        stride: int | tuple[int, ...] | None = None,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        ceil_mode: bool = False,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device=device, dtype=dtype)
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> tuple[Tensor, Switches]:
        return normalised_relu_pool(self, self, input)

    def extra_repr(self) -> str:
        pooling = ", ".join(
            f"{name}={getattr(self, name)}" for name in ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
        )
        return f"{super().extra_repr()}, {pooling}"


def normalised_relu_pool(norm: torch.nn.modules.batchnorm._NormBase, pool: Any, input: Tensor) -> tuple[Tensor, Switches]:
    """What ``BatchNorm2d`` ``norm``, ReLU and the windows of ``pool`` make of a map; the running statistics follow."""
    momentum = 0.0 if norm.momentum is None else norm.momentum
    follows = norm.training and norm.track_running_stats
    if follows and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        if norm.momentum is None:
            momentum = 1.0 / float(norm.num_batches_tracked)
    given = follows or not norm.training
    return batch_norm_relu_pool2d(
        input,
        norm.running_mean if given else None,
        norm.running_var if given else None,
        norm.weight,
        norm.bias,
        norm.training or (norm.running_mean is None and norm.running_var is None),
        momentum,
        norm.eps,
        pool.kernel_size,
        pool.stride,
        pool.padding,
        pool.dilation,
        pool.ceil_mode,
    )
