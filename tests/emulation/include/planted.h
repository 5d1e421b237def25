// The switch of the faults that tests/emulation/faults.py puts into a copy of the kernels.

#pragma once

#include <cstdlib>

// Whether the environment names this fault. It is read once.
inline bool planted(int fault) {
    static const int chosen = [] {
        const char* given = std::getenv("FGSBIR_PLANTED_FAULT");
        return given == nullptr ? -1 : std::atoi(given);
    }();
    return fault == chosen;
}
