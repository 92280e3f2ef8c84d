"""Sums and fused values are the same to the bit whatever instruction set the CPU kernels were built for."""

import os
import subprocess
import sys

CODE = """
import hashlib, torch, wwae

def show(*tensors):
    for t in tensors:
        print(hashlib.sha256(bytes(t.contiguous().flatten().view(torch.uint8).tolist())).hexdigest())

x = (torch.arange(2 * 19 * 33 * 35) * 7919 % 1009).view(2, 19, 33, 35) / 64 - 5
bias = (torch.arange(19) - 14) / 2
for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
    for layout in (torch.contiguous_format, torch.channels_last):
        for window in ((2,), (3, 2, 1)):
            y = x.to(dtype).contiguous(memory_format=layout).requires_grad_()
            b = bias.to(dtype).requires_grad_()
            values, switches = wwae.ops.bias_relu_pool2d(y, b, *window)
            show(values, switches.offsets, *torch.autograd.grad(values, (y, b), values))
            running = torch.zeros(19, dtype=dtype), torch.ones(19, dtype=dtype)
            values, switches = wwae.ops.batch_norm_relu_pool2d(y, *running, b, b, True, 1.0, 1e-5, *window)
            show(values, switches.offsets, *running, *torch.autograd.grad(values, (y, b), values))
"""


def test_every_instruction_set_gives_the_same_bits():
    outputs = {
        level: subprocess.run(
            [sys.executable, "-c", CODE],
            env=os.environ | {"ATEN_CPU_CAPABILITY": level},
            capture_output=True,
            text=True,
            check=False,
        )
        for level in ("default", "avx2", "avx512")
    }
    assert outputs["default"].stdout.count("\n") == 4 * 2 * 2 * 10, outputs["default"].stderr
    assert len({output.stdout for output in outputs.values()}) == 1
