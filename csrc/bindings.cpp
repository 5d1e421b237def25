// The Python module fgsbir_ext._C: pointers and sizes go through, nothing is computed here.

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "ops.h"

namespace py = pybind11;
using namespace fgsbir;

#ifdef FGSBIR_WITH_CUDA
void bind_cuda(py::module_& module);
#endif

namespace {

// An address as tensor.data_ptr() gives it; 0 stands for no tensor.
using Address = uintptr_t;

template <typename T>
T* at(Address address) {
    return reinterpret_cast<T*>(address);
}

using Unlocked = py::call_guard<py::gil_scoped_release>;

template <typename T>
void bind_cpu(py::module_& module, const char* type) {
    const auto name = [type](const char* operation) { return std::string(operation) + "_" + type; };

    module.def(
        name("pairwise_distance").c_str(),
        [](Address x, Address y, Address out, int64_t n, int64_t m, int64_t d, Metric metric,
           int threads) {
            cpu::pairwise_distance(at<const T>(x), at<const T>(y), at<T>(out), n, m, d, metric,
                                   threads);
        },
        Unlocked());
    module.def(
        name("pairwise_distance_backward").c_str(),
        [](Address grad, Address distance, Address x, Address y, Address grad_x, int64_t n,
           int64_t m, int64_t d, Metric metric, bool transposed, int threads) {
            cpu::pairwise_distance_backward(at<const T>(grad), at<const T>(distance),
                                            at<const T>(x), at<const T>(y), at<T>(grad_x), n, m, d,
                                            metric, transposed, threads);
        },
        Unlocked());

    module.def(
        name("mine_batch_hard").c_str(),
        [](Address sketch, Address photo, bool paired, Address sketch_labels, Address photo_labels,
           const cpu::Attributes& attributes, double guidance, bool exclude_self, Metric metric,
           int64_t n, int64_t m, int64_t d, Address positive, Address negative, int threads) {
            const cpu::Batch<T> batch{at<const T>(sketch),
                                      at<const T>(photo),
                                      paired,
                                      at<const int64_t>(sketch_labels),
                                      at<const int64_t>(photo_labels),
                                      attributes,
                                      guidance,
                                      exclude_self,
                                      metric,
                                      n,
                                      m,
                                      d};
            cpu::mine_batch_hard(batch, at<int64_t>(positive), at<int64_t>(negative), threads);
        },
        Unlocked());

    py::class_<LossInputs<T>>(module, name("LossInputs").c_str())
        .def(py::init([](bool has_logits, Address sketch, Address photo, Address sketch_logits,
                         Address photo_logits, Address sketch_attributes, Address photo_attributes,
                         Address positive, Address negative, int64_t n, int64_t m, int64_t d,
                         int64_t k) {
            return LossInputs<T>{has_logits,
                                 at<const T>(sketch),
                                 at<const T>(photo),
                                 at<const T>(sketch_logits),
                                 at<const T>(photo_logits),
                                 at<const int8_t>(sketch_attributes),
                                 at<const int8_t>(photo_attributes),
                                 at<const int64_t>(positive),
                                 at<const int64_t>(negative),
                                 n,
                                 m,
                                 d,
                                 k};
        }));
    module.def(
        name("attribute_triplet_loss").c_str(),
        [](const LossInputs<T>& inputs, const LossOptions& options, Address total, Address parts,
           Address distances, Address scale, int threads) {
            cpu::attribute_triplet_loss(
                inputs, options,
                LossOutputs<T>{at<T>(total), at<T>(parts), at<T>(distances), at<T>(scale)},
                threads);
        },
        Unlocked());
    module.def(
        name("attribute_triplet_loss_backward").c_str(),
        [](const LossInputs<T>& inputs, const LossOptions& options, Address grad_total,
           Address grad_parts, Address distances, Address scale, Address grad_sketch,
           Address grad_photo, Address grad_sketch_logits, Address grad_photo_logits, int threads) {
            cpu::attribute_triplet_loss_backward(
                inputs, options, at<const T>(grad_total), at<const T>(grad_parts),
                at<const T>(distances), at<const T>(scale),
                LossGradients<T>{at<T>(grad_sketch), at<T>(grad_photo), at<T>(grad_sketch_logits),
                                 at<T>(grad_photo_logits)},
                threads);
        },
        Unlocked());

    module.def(
        name("topk").c_str(),
        [](Address query, Address gallery, Address query_logits, Address gallery_logits,
           Address query_operand, Address gallery_operand, Address query_bias, Address gallery_bias,
           double attribute_weight, Metric metric, AttributeMetric attribute_metric, int64_t n,
           int64_t m, int64_t d, int64_t attributes, int64_t k, Address values, Address indices,
           int threads) {
            const cpu::Search<T> search{at<const T>(query),
                                        at<const T>(gallery),
                                        at<const T>(query_logits),
                                        at<const T>(gallery_logits),
                                        at<const T>(query_operand),
                                        at<const T>(gallery_operand),
                                        at<const T>(query_bias),
                                        at<const T>(gallery_bias),
                                        attribute_weight,
                                        metric,
                                        attribute_metric,
                                        n,
                                        m,
                                        d,
                                        attributes,
                                        k,
                                        at<T>(values),
                                        at<int64_t>(indices)};
            cpu::topk(search, threads);
        },
        Unlocked());
}

void bind_cpu_attributes(py::module_& module) {
    py::class_<cpu::Codes>(module, "Codes").def_readonly("invalid", &cpu::Codes::invalid);
    module.def("pack_attributes_int8", [](Address attributes, int64_t n, int64_t k) {
        return cpu::pack_attributes(at<const int8_t>(attributes), n, k);
    });
    module.def("pack_attributes_float32", [](Address attributes, int64_t n, int64_t k) {
        return cpu::pack_attributes(at<const float>(attributes), n, k);
    });
    module.def("pack_attributes_float64", [](Address attributes, int64_t n, int64_t k) {
        return cpu::pack_attributes(at<const double>(attributes), n, k);
    });
    py::class_<cpu::Attributes>(module, "Attributes")
        .def(py::init<>())
        .def(py::init([](const cpu::Codes& a, const cpu::Codes& b, Address weights) {
                 return cpu::Attributes{
                     a.words.data(), b.words.data(), at<const double>(weights), a.n, b.n, a.k};
             }),
             py::keep_alive<1, 2>(), py::keep_alive<1, 3>());
    module.def(
        "attribute_distance",
        [](const cpu::Attributes& attributes, Address out, int threads) {
            cpu::attribute_distance(attributes, at<float>(out), threads);
        },
        Unlocked());
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
    py::class_<LossOptions>(module, "LossOptions")
        .def(py::init([](Metric metric, AttributeMetric attribute_metric,
                         std::optional<double> margin, std::optional<double> attribute_margin,
                         const std::array<double, 4>& lambdas, Reduction reduction) {
            return LossOptions{metric,
                               attribute_metric,
                               margin.value_or(0),
                               !margin.has_value(),
                               attribute_margin.value_or(0),
                               !attribute_margin.has_value(),
                               {1, lambdas[0], lambdas[1], lambdas[2], lambdas[3]},
                               reduction};
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
