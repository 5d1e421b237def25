// Runs a piece of code compiled for the best instruction set of the machine it runs on.
//
// One binary serves every x86-64: a body marked FGSBIR_INLINE is inlined into, and so compiled
// for, each of the functions below, and the processor chooses among them. Only what is marked
// FGSBIR_INLINE gets the wider instructions; anything else it calls stays at the baseline.
#pragma once

#define FGSBIR_INLINE __attribute__((always_inline))

namespace fgsbir::cpu {

#if defined(__x86_64__)

template <typename Body>
__attribute__((
    target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt,prefer-vector-width=512"))) void
run_avx512(const Body& body) {
    body();
}

template <typename Body>
__attribute__((target("avx2,fma,popcnt"))) void run_avx2(const Body& body) {
    body();
}

enum class InstructionSet { baseline, avx2, avx512 };

inline InstructionSet detect_instruction_set() {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("popcnt");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    return avx512 ? InstructionSet::avx512 : avx2 ? InstructionSet::avx2 : InstructionSet::baseline;
}

template <typename Body>
void run(const Body& body) {
    static const InstructionSet instruction_set = detect_instruction_set();
    switch (instruction_set) {
        case InstructionSet::avx512:
            return run_avx512(body);
        case InstructionSet::avx2:
            return run_avx2(body);
        case InstructionSet::baseline:
            return body();
    }
}

#else

template <typename Body>
void run(const Body& body) {
    body();
}

#endif

}  // namespace fgsbir::cpu
