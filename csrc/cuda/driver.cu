// Version of the installed CUDA driver.

#include "launch.h"

namespace fgsbir::cuda {

int driver_version() {
    int version = 0;
    FGSBIR_CHECK_CUDA(cudaDriverGetVersion(&version));
    return version;
}

}  // namespace fgsbir::cuda
