"""``soft_argmax_unpool2d`` beside what one writes in PyTorch: four weights and indices a window, and four additions by index.

Backward is that of ``what``; ours computes the gradient of ``where`` in the same pass, and writes it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import wwae
from benchmarks.cases import Case, Setting
from benchmarks.measure import Operation
from benchmarks.traffic import POSITION_BYTES, in_direction, unpool_forward
from wwae.reference.window import memory_format

BETA = 4.0


def _pooled(x: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    return wwae.ops.soft_argmax_pool2d(x, case.kernel, BETA, case.stride)


def _wwae(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    (what, where), size = _pooled(x, case), x.shape[2:]
    return what, lambda what: wwae.ops.soft_argmax_unpool2d(what, where, case.kernel, case.stride, output_size=size)


def _eager(x: Tensor, case: Case) -> tuple[Tensor, Any]:
    (what, where), (height, width) = _pooled(x, case), x.shape[2:]
    rows, columns = (torch.arange(n, device=x.device) * case.stride for n in what.shape[2:])

    layout = memory_format(x)

    def unpool(what: Tensor) -> Tensor:
        at = (where.clamp(-1, 1) + 1) * ((case.kernel - 1) / 2)
        lower = at.floor().clamp(max=case.kernel - 2)
        share, tap = at - lower, lower.long()
        first = (rows[:, None] + tap[..., 1]) * width + columns + tap[..., 0]
        full = torch.zeros(*what.shape[:2], height * width, device=what.device)
        for down in (0, 1):
            for across in (0, 1):
                weight = (share[..., 1] if down else 1 - share[..., 1]) * (share[..., 0] if across else 1 - share[..., 0])
                index = (first + down * width + across).flatten(2)
                full = full.scatter_add(2, index, (weight * what.float()).flatten(2))
        return full.to(what.dtype).view(*what.shape[:2], height, width).contiguous(memory_format=layout)

    return what, unpool


def _traffic(setting: Setting) -> int:
    """Forward writes the map; backward reads its gradient, the values and positions, and writes theirs."""
    forward = unpool_forward(setting, POSITION_BYTES)
    return in_direction(setting, forward, forward + setting.case.windows * (setting.element_bytes + POSITION_BYTES))


OPERATION = Operation(
    name="soft_argmax_unpool2d", wwae=_wwae, eager=_eager, traffic=_traffic, comparable=lambda case: True, ties=0.0
)


def bench_soft_argmax_unpool2d(measure) -> None:
    measure(OPERATION)
