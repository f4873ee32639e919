// How numbers are stored: float32, float16 and bfloat16 in memory, float32 in registers.
#pragma once

#include "neuron_steps.h"

namespace mmspike {

struct BFloat16 {
    unsigned short bits;
};

MMSPIKE_FN float load(const float* p) { return *p; }
MMSPIKE_FN void store(float* p, float value) { *p = value; }

MMSPIKE_FN float load(const BFloat16* p) {
    return float_from_bits(static_cast<unsigned>(p->bits) << 16);
}

MMSPIKE_FN void store(BFloat16* p, float value) {
    const unsigned bits = bits_of_float(value);
    // To nearest, halves to even.
    const unsigned rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    p->bits = value != value ? 0x7fc0u : static_cast<unsigned short>(rounded);
}

#if defined(__CUDACC__)
// By instruction, because NVRTC finds no cuda_fp16.h where there is no CUDA toolkit.
#define MMSPIKE_FLOAT16 1
struct Float16 {
    unsigned short bits;
};

MMSPIKE_FN float load(const Float16* p) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(p->bits));
    return value;
}

MMSPIKE_FN void store(Float16* p, float value) {
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p->bits) : "f"(value));
}
#elif defined(__FLT16_MANT_DIG__)
#define MMSPIKE_FLOAT16 1
using Float16 = _Float16;

MMSPIKE_FN float load(const Float16* p) { return static_cast<float>(*p); }
MMSPIKE_FN void store(Float16* p, float value) { *p = static_cast<Float16>(value); }
#endif

// The nearest number that can be stored.
template <typename S>
MMSPIKE_FN float rounded(float value) {
    S stored;
    store(&stored, value);
    return load(&stored);
}

// What an input adds to the membrane of a binary neuron. In thresholds (SCALE) it is rounded like
// a quotient that plain torch stores.
template <int LEAK, typename S>
MMSPIKE_FN float current_of(float x, const BinaryOptions& o) {
    return LEAK == SCALE ? rounded<S>(x / o.constant) : x;
}

}  // namespace mmspike
