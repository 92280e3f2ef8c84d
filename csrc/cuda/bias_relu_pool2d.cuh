// Bias, ReLU and max pooling in one pass.
//
//   values[n, c, oh, ow] = max over the real taps of relu(x[n, c, tap] + bias[c]), offsets as in switch_pool2d
//
//   bias  [C]  float, or double for a double x
//
// The kernels of switch_pool2d with an activation: see switch_pool2d.cuh for tensors, ties, NaN and padding, and
// activation.cuh for the sum. A window of which ReLU leaves nothing has value 0 and the offset of its first real tap.
// Bytes moved per element of x, 16-bit floats, 2 x 2: 2 + 0.5 + 0.25, and the bias, which stays in the cache.
#pragma once

#include "cuda/activation.cuh"
#include "cuda/switch_pool2d.cuh"
