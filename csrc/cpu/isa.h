// Dispatch of a piece of code to its version for the machine's best instruction set.
//
// One binary serves every x86-64: a body marked FGSBIR_INLINE is inlined into, and so compiled
// for, each of the functions below, and the processor chooses among them. Only what is marked
// FGSBIR_INLINE gets the wider instructions; anything else it calls stays at the baseline.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <type_traits>

#define FGSBIR_INLINE __attribute__((always_inline))
// For what is rarely called and takes long to compile.
#define FGSBIR_NOINLINE __attribute__((noinline))

namespace fgsbir::cpu {

enum class InstructionSet { baseline, avx2, avx512 };

template <InstructionSet kSet>
using Set = std::integral_constant<InstructionSet, kSet>;

#if defined(__x86_64__)

// GCC has to be told to use the whole of a register; Clang does, and would ignore all of an
// attribute with a name that it does not know.
#if defined(__clang__)
#define FGSBIR_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt"
#else
#define FGSBIR_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,prefer-vector-width=512"
#endif

template <typename Body>
__attribute__((target(FGSBIR_AVX512))) void run_avx512(const Body& body) {
    body(Set<InstructionSet::avx512>{});
}

template <typename Body>
__attribute__((target("avx2,fma,popcnt"))) void run_avx2(const Body& body) {
    body(Set<InstructionSet::avx2>{});
}

// FGSBIR_INSTRUCTION_SET=avx2 or =baseline in the environment holds wider ones back.
inline InstructionSet detect_instruction_set() {
    const char* asked = std::getenv("FGSBIR_INSTRUCTION_SET");
    const std::string_view most = asked == nullptr ? "avx512" : asked;
    if (most == "baseline") return InstructionSet::baseline;
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("popcnt");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    return avx512 && most != "avx2" ? InstructionSet::avx512
           : avx2                   ? InstructionSet::avx2
                                    : InstructionSet::baseline;
}

inline InstructionSet instruction_set() {
    static const InstructionSet set = detect_instruction_set();
    return set;
}

// Calls body with the Set that it is compiled for.
template <typename Body>
void run_for_set(const Body& body) {
    switch (instruction_set()) {
        case InstructionSet::avx512:
            return run_avx512(body);
        case InstructionSet::avx2:
            return run_avx2(body);
        case InstructionSet::baseline:
            return body(Set<InstructionSet::baseline>{});
    }
}

#else

template <typename Body>
void run_for_set(const Body& body) {
    body(Set<InstructionSet::baseline>{});
}

#endif

template <typename Body>
void run(const Body& body) {
    run_for_set([&](auto) FGSBIR_INLINE { body(); });
}

// Bytes of a vector register, and how many there are.
template <InstructionSet kSet>
constexpr int kRegisterBytes = kSet == InstructionSet::avx512 ? 64
                               : kSet == InstructionSet::avx2 ? 32
                                                              : 16;
#if defined(__x86_64__)
template <InstructionSet kSet>
constexpr int kRegisters = kSet == InstructionSet::avx512 ? 32 : 16;
#else
template <InstructionSet kSet>
constexpr int kRegisters = 32;
#endif

}  // namespace fgsbir::cpu
