// The Python module fgsbir_ext._C: pointers and sizes go through, nothing is computed here.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <optional>

#include "bind.h"
#include "ops.h"

namespace py = pybind11;
using namespace fgsbir;

#ifdef FGSBIR_WITH_CUDA
void bind_cuda(py::module_& module);
#endif

namespace {

template <typename T>
void bind_cpu(py::module_& module, const std::string& type) {
    bind_mining<cpu::Mining<T>>(module, "Mining_" + type);
    bind_predictions<cpu::Predictions<T>>(module, "Predictions_" + type);
    bind_chosen_triplets<cpu::ChosenTriplets<T>>(module, "ChosenTriplets_" + type);
    using Search = cpu::Search<T>;
    bind_search<Search>(module, "Search_" + type, &Search::query_operand, &Search::gallery_operand,
                        &Search::query_bias, &Search::gallery_bias);

    bind_function(module, "pairwise_distance_" + type, &cpu::pairwise_distance<T>);
    bind_function(module, "pairwise_distance_backward_" + type,
                  &cpu::pairwise_distance_backward<T>);
    bind_function(module, "mine_batch_hard_" + type, &cpu::mine_batch_hard<T>);
    bind_function(module, "attribute_triplet_loss_" + type, &cpu::attribute_triplet_loss<T>);
    bind_function(module, "attribute_triplet_loss_backward_" + type,
                  &cpu::attribute_triplet_loss_backward<T>);
    bind_function(module, "topk_" + type, &cpu::topk<T>);
}

template <typename A>
void bind_packing(py::module_& module, const std::string& type) {
    module.def(("pack_attributes_" + type).c_str(), [](uintptr_t attributes, int64_t n, int64_t k) {
        return cpu::pack_attributes(from_python<const A*>(attributes), n, k);
    });
}

void bind_cpu_attributes(py::module_& module) {
    py::class_<cpu::Codes>(module, "Codes").def_readonly("invalid", &cpu::Codes::invalid);
    bind_packing<int8_t>(module, "int8");
    bind_packing<float>(module, "float32");
    bind_packing<double>(module, "float64");
    py::class_<cpu::PackedAttributes>(module, "PackedAttributes")
        .def(py::init<>())
        .def(py::init([](const cpu::Codes& a, const cpu::Codes& b, uintptr_t weights) {
                 return cpu::PackedAttributes{a.words.data(),
                                              b.words.data(),
                                              from_python<const double*>(weights),
                                              a.n,
                                              b.n,
                                              a.k};
             }),
             py::keep_alive<1, 2>(), py::keep_alive<1, 3>());
    bind_function(module, "attribute_distance", &cpu::attribute_distance);
}

void bind_options(py::module_& module) {
    py::enum_<Metric>(module, "Metric")
        .value("sqeuclidean", Metric::sqeuclidean)
        .value("euclidean", Metric::euclidean)
        .value("cosine", Metric::cosine);
    py::enum_<AttributeMetric>(module, "AttributeMetric")
        .value("sqeuclidean", AttributeMetric::sqeuclidean)
        .value("euclidean", AttributeMetric::euclidean)
        .value("cross_entropy", AttributeMetric::cross_entropy);
    py::enum_<Reduction>(module, "Reduction")
        .value("none", Reduction::none)
        .value("sum", Reduction::sum)
        .value("mean", Reduction::mean);
    module.attr("TERMS") = static_cast<int>(kTerms);
    module.attr("TRIPLET_DISTANCES") = static_cast<int>(kTripletDistances);
    py::class_<LossOptions>(module, "LossOptions")
        .def(py::init([](Metric metric, AttributeMetric attribute_metric,
                         std::optional<double> margin, std::optional<double> attribute_margin,
                         const std::array<double, kTerms - 1>& lambdas, Reduction reduction) {
            LossOptions options = {metric,
                                   attribute_metric,
                                   margin.value_or(0),
                                   !margin.has_value(),
                                   attribute_margin.value_or(0),
                                   !attribute_margin.has_value(),
                                   {1},
                                   reduction};
            std::copy(lambdas.begin(), lambdas.end(), options.lambda + 1);
            return options;
        }));
}

}  // namespace

PYBIND11_MODULE(_C, module) {
    module.attr("version") = FGSBIR_VERSION;
    module.attr("cuda_architectures") = FGSBIR_CUDA_ARCHITECTURES;
    module.attr("cuda_toolkit") = FGSBIR_CUDA_TOOLKIT;
    module.attr("compiler") = FGSBIR_COMPILER;
    bind_options(module);

    py::module_ cpu = module.def_submodule("cpu");
    bind_cpu_attributes(cpu);
    bind_cpu<float>(cpu, "float32");
    bind_cpu<double>(cpu, "float64");

#ifdef FGSBIR_WITH_CUDA
    py::module_ cuda = module.def_submodule("cuda");
    bind_cuda(cuda);
#endif
}
