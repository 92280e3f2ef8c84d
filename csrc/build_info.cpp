// wwae._C: what this build of wwae contains. setup.py passes the WWAE_* facts as macros.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <map>
#include <string>

namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang " __clang_version__;
#elif defined(__GNUC__)
constexpr const char* kCompiler = "gcc " __VERSION__;
#else
constexpr const char* kCompiler = "unknown";
#endif

std::map<std::string, std::string> build_info() {
  return {
      {"version", WWAE_VERSION},
      {"compiler", kCompiler},
      {"torch", WWAE_TORCH_VERSION},
      {"cpu_levels", WWAE_CPU_LEVELS},
      {"cuda", WWAE_CUDA_VERSION},
      {"cuda_archs", WWAE_CUDA_ARCHS},
      {"cuda_left_out", WWAE_CUDA_LEFT_OUT},
  };
}

}  // namespace

PYBIND11_MODULE(_C, module) {
  module.doc() = "Build information of wwae.";
  module.def("build_info", &build_info, R"doc(Facts about this build, as strings.

`version` of wwae; `compiler` and `torch` it was built with (any PyTorch from the stable-ABI target on can run the kernels);
`cpu_levels`, the instruction-set levels of the CPU library, comma-separated; `cuda`, the nvcc release, `cuda_archs`, the
compute capabilities, comma-separated; or, where the CUDA library was not built, `cuda_left_out`, the reason.)doc");
}
