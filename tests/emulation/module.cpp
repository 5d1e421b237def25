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
    module.def("set_runs", &emulation::set_runs, "Whether grids are run.");
    module.def("set_records", &emulation::set_records, "Whether grids are recorded.");
    module.def("launches", &emulation::launches, "How many grids have been launched.");
    // A process may load several variants of this module.
    pybind11::class_<emulation::Launch>(module, "Launch", pybind11::module_local())
        .def_readonly("kernel", &emulation::Launch::kernel)
        .def_readonly("grid_x", &emulation::Launch::grid_x)
        .def_readonly("grid_y", &emulation::Launch::grid_y)
        .def_readonly("threads", &emulation::Launch::threads)
        .def_readonly("shared", &emulation::Launch::shared)
        .def_property_readonly("parameters", [](const emulation::Launch& launch) {
            return std::vector<pybind11::bytes>(launch.parameters.begin(), launch.parameters.end());
        });
    module.def("launched_since", &emulation::launched_since,
               "The grids that have been launched, from a number of them on.");
    module.def("products_of_warpgroups", &emulation::products_of_warpgroups,
               "How many have been asked for.");
}
