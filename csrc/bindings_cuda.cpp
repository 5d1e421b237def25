// The submodule fgsbir_ext._C.cuda: addresses of device memory, sizes and a stream go through.

#include <pybind11/pybind11.h>

#include "bind.h"
#include "ops_cuda.h"

namespace py = pybind11;
using namespace fgsbir;

namespace {

void bind_types(py::module_& module) {
    using cuda::ScalarType;
    py::enum_<ScalarType>(module, "ScalarType", py::module_local())
        .value("float32", ScalarType::float32)
        .value("float64", ScalarType::float64)
        .value("float16", ScalarType::float16)
        .value("bfloat16", ScalarType::bfloat16)
        .value("int8", ScalarType::int8)
        .value("int16", ScalarType::int16)
        .value("int32", ScalarType::int32)
        .value("int64", ScalarType::int64)
        .value("uint8", ScalarType::uint8)
        .value("bool", ScalarType::uint8);

    using cuda::Array, cuda::Attributes;
    bind_struct<Array>(module, "Array", &Array::data, &Array::type);
    bind_struct<Attributes>(module, "Attributes", &Attributes::a, &Attributes::b,
                            &Attributes::weights, &Attributes::k);
    bind_mining<cuda::Mining>(module, "Mining", &cuda::Mining::type);
    bind_predictions<cuda::Predictions>(module, "Predictions");
    bind_chosen_triplets<cuda::ChosenTriplets>(module, "ChosenTriplets",
                                               &cuda::ChosenTriplets::type);
    bind_search<cuda::Search>(module, "Search", &cuda::Search::type);
}

// Binds an operation and the function that says how large its workspace must be.
template <typename Size, typename Operation>
void bind_operation(py::module_& module, const std::string& name, Size* workspace_size,
                    Operation* operation) {
    module.def((name + "_workspace").c_str(), workspace_size);
    bind_function(module, name, operation);
}

}  // namespace

void bind_cuda(py::module_& module) {
    module.def("driver_version", &cuda::driver_version);
    bind_types(module);
    bind_operation(module, "pairwise_distance", &cuda::pairwise_distance_workspace,
                   &cuda::pairwise_distance);
    bind_operation(module, "pairwise_distance_backward",
                   &cuda::pairwise_distance_backward_workspace, &cuda::pairwise_distance_backward);
    bind_operation(module, "attribute_distance", &cuda::attribute_distance_workspace,
                   &cuda::attribute_distance);
    bind_operation(module, "mine_batch_hard", &cuda::mine_batch_hard_workspace,
                   &cuda::mine_batch_hard);
    bind_operation(module, "attribute_triplet_loss", &cuda::attribute_triplet_loss_workspace,
                   &cuda::attribute_triplet_loss);
    bind_operation(module, "attribute_triplet_loss_backward",
                   &cuda::attribute_triplet_loss_backward_workspace,
                   &cuda::attribute_triplet_loss_backward);
    module.attr("MAX_TOPK") = cuda::kMaxTopK;
    bind_operation(module, "topk", &cuda::topk_workspace, &cuda::topk);
}
