// Python bindings of functions and structs, made from their C++ types: a pointer is passed as an
// address.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <type_traits>

namespace fgsbir {

// What Python passes for a T: for a pointer the address that tensor.data_ptr() gives, or that of
// torch.cuda.Stream.cuda_stream; 0 stands for no tensor and for the default stream.
template <typename T>
using Passed = std::conditional_t<std::is_pointer_v<T>, uintptr_t, T>;

template <typename T>
T from_python(const Passed<T>& value) {
    if constexpr (std::is_pointer_v<T>) {
        return reinterpret_cast<T>(value);
    } else {
        return value;
    }
}

// Binds a function that runs without the interpreter's lock.
template <typename... Parameters>
void bind_function(pybind11::module_& module, const std::string& name,
                   void (*function)(Parameters...)) {
    module.def(
        name.c_str(),
        [function](Passed<Parameters>... arguments) {
            function(from_python<Parameters>(arguments)...);
        },
        pybind11::call_guard<pybind11::gil_scoped_release>());
}

template <typename Member>
struct TypeOfMember;

template <typename Struct, typename T>
struct TypeOfMember<T Struct::*> {
    using Type = T;
};

template <typename Member>
using MemberType = typename TypeOfMember<Member>::Type;

// Binds a struct whose constructor takes the given members in this order.
template <typename Struct, typename... Members>
void bind_struct(pybind11::module_& module, const std::string& name, Members... members) {
    // Another build of these kernels may be loaded beside this one.
    pybind11::class_<Struct>(module, name.c_str(), pybind11::module_local())
        .def(pybind11::init([members...](Passed<MemberType<Members>>... values) {
            Struct made = {};
            ((made.*members = from_python<MemberType<Members>>(values)), ...);
            return made;
        }));
}

// The structs that both backends have; `more` are the members of one of them alone.
template <typename S, typename... More>
void bind_mining(pybind11::module_& module, const std::string& name, More... more) {
    bind_struct<S>(module, name, &S::sketch, &S::photo, &S::sketch_labels, &S::photo_labels,
                   &S::attributes, &S::guidance, &S::exclude_self, &S::metric, &S::n, &S::m, &S::d,
                   more...);
}

template <typename S>
void bind_predictions(pybind11::module_& module, const std::string& name) {
    bind_struct<S>(module, name, &S::given, &S::sketch_logits, &S::photo_logits,
                   &S::sketch_attributes, &S::photo_attributes, &S::k);
}

template <typename S, typename... More>
void bind_chosen_triplets(pybind11::module_& module, const std::string& name, More... more) {
    bind_struct<S>(module, name, &S::sketch, &S::photo, &S::positive, &S::negative, &S::distances,
                   &S::scale, &S::n, &S::m, &S::d, more...);
}

template <typename S, typename... More>
void bind_search(pybind11::module_& module, const std::string& name, More... more) {
    bind_struct<S>(module, name, &S::query, &S::gallery, &S::query_logits, &S::gallery_logits,
                   &S::attribute_weight, &S::metric, &S::attribute_metric, &S::n, &S::m, &S::d,
                   &S::attributes, &S::k, more...);
}

}  // namespace fgsbir
