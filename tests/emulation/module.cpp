// The Python module fgsbir_emulated_cuda: what fgsbir_ext._C.cuda has, the emulator's own knobs,
// and kernels of the tests alone.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "scheduler.h"

void bind_cuda(pybind11::module_& module);
void bind_probes(pybind11::module_& module);

PYBIND11_MODULE(fgsbir_emulated_cuda, module) {
    bind_cuda(module);
    bind_probes(module);
    module.def("set_seed", &emulation::set_seed, "Seeds the order of threads and blocks.");
    module.def("launches", &emulation::launches, "How many grids have been run.");
    module.def("launched_since", &emulation::launched_since,
               "Offsets of their kernels in this file, from a number of grids on.");
    module.def("products_of_warpgroups", &emulation::products_of_warpgroups,
               "How many have been asked for.");
}
