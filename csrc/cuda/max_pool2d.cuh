// Max pooling with PyTorch's int64 indices; one pass writes values, indices and offsets.
//
// The kernels of switch_pool2d, which also write the indices: see switch_pool2d.cuh for tensors, ties, NaN, padding and
// windows without a real tap. Bytes moved per element of x, 16-bit floats, 2 x 2: 2 + 0.5 + 0.25 + 2.
#pragma once

#include "cuda/switch_pool2d.cuh"
