"""The CUDA forms of the primitives compile: shared memory, shuffles, copies, fragments, products, without spills.

What they compute is seen on a GPU only; here ptxas accepts every instruction for the oldest and the newest architecture
that the kernels are written for.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from emulation.build import HERE, ROOT

SOURCE = """
#include "gemm.cuh"
#include "sums.cuh"

namespace wwae {
template __global__ void gemm_kernel<__nv_bfloat16, Fault::none>(const __nv_bfloat16*, const __nv_bfloat16*, float*, int, int);
template __global__ void gemm_kernel<__half, Fault::none>(const __half*, const __half*, float*, int, int);

__global__ void other_primitives_kernel(float* x) {
  WWAE_DYNAMIC_SHARED(bytes);
  float* values = reinterpret_cast<float*>(bytes);
  dev::cp_async<4>(values + threadIdx.x, x + threadIdx.x, threadIdx.x < 7);
  dev::cp_async<8>(values + 2 * threadIdx.x, x + 2 * threadIdx.x);
  dev::cp_async_commit();
  dev::cp_async_wait<0>();
  dev::sync_threads();
  const uint32_t votes = dev::ballot(kFullMask, values[threadIdx.x] > 0);
  const float next = dev::shuffle(kFullMask, values[threadIdx.x], static_cast<int>(threadIdx.x) + 1);
  uint32_t transposed[2];
  dev::ldmatrix<2, true>(transposed, bytes + 16 * threadIdx.x);
  uint32_t one[1];
  dev::ldmatrix<1, true>(one, bytes + 16 * threadIdx.x);
  dev::sync_warp(kFullMask);
  x[threadIdx.x] = dev::shuffle_down(kFullMask, next, 8) + static_cast<float>(votes + transposed[0] + transposed[1] + one[0]);
}
}  // namespace wwae
"""


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc was not found")
@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_primitives_compile(arch: str, tmp_path: Path):
    source = tmp_path / "primitives.cu"
    source.write_text(SOURCE)
    run = subprocess.run(
        ["nvcc", "-std=c++20", "-O3", f"-arch={arch}", "-Xptxas=-v", "-Xcompiler=-Wno-unknown-pragmas", f"-I{ROOT / 'csrc'}",
         f"-I{HERE}", "-cubin", str(source), "-o", str(tmp_path / "primitives.cubin")],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    spills = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", run.stderr)
    assert len(spills) >= 6, run.stderr  # two gemm kernels, ldmatrix, two sums, the one above
    assert set(spills) == {("0", "0", "0")}, run.stderr
