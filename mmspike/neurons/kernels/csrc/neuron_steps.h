// One time step of every neuron, forward and backward: the arithmetic of mmspike's kernels.
//
// This file is compiled by NVRTC for GPUs and by a C++ compiler for the host, so that what a GPU
// computes is executed and tested on every machine. It includes nothing and touches no memory.
// Neither side may contract a product and a sum into one rounding (-ffp-contract=off,
// --fmad=false): the steps round like the plain torch reference, operation by operation. Where only
// a gradient depends on it, MMSPIKE_FMA does so on purpose.
#pragma once

#if defined(__CUDACC__)
#define MMSPIKE_FN static __device__ __forceinline__
#define MMSPIKE_FLOOR floorf
#define MMSPIKE_FMA fmaf
#else
#define MMSPIKE_FN static inline __attribute__((always_inline))
#define MMSPIKE_FLOOR __builtin_floorf
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
#define MMSPIKE_FMA __builtin_fmaf
#else
#define MMSPIKE_FMA(a, b, c) ((a) * (b) + (c))
#endif
#endif

namespace mmspike {

// The number with these bits, and the bits of this number.
MMSPIKE_FN float float_from_bits(unsigned bits) {
#if defined(__CUDACC__)
    return __uint_as_float(bits);
#else
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
#endif
}

MMSPIKE_FN unsigned bits_of_float(float value) {
#if defined(__CUDACC__)
    return __float_as_uint(value);
#else
    unsigned bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}

// --- binary neurons -----------------------------------------------------------------------------

// How the membrane leaks. IF, LIF (divides by tau) and PLIF (multiplies by the learned sigmoid(w)).
// SpikingQCFS is an IF whose input and spikes are measured in a learned threshold (SCALE).
enum Leak { NO_LEAK = 0, DIVIDE = 1, MULTIPLY = 2, SCALE = 3 };

enum SurrogateKind { SIGMOID = 0, ATAN = 1, RECTANGULAR = 2, TRIANGULAR = 3 };

struct BinaryOptions {
    float constant;   // tau (DIVIDE), 1 / tau (MULTIPLY) or the learned threshold (SCALE)
    float threshold;
    float v_reset;    // target of the hard reset, and the rest potential, where membranes start
    float alpha;      // width of the surrogate
};

template <int LEAK>
MMSPIKE_FN float leak(float d, const BinaryOptions& o) {
    return LEAK == DIVIDE ? d / o.constant : d * o.constant;
}

// Membrane potential before the spike.
template <int LEAK, bool DECAY_INPUT>
MMSPIKE_FN float charge(float v, float x, const BinaryOptions& o) {
    if (LEAK == NO_LEAK || LEAK == SCALE) return v + x;
    if (DECAY_INPUT) return v + leak<LEAK>(x - (v - o.v_reset), o);
    return v - leak<LEAK>(v - o.v_reset, o) + x;
}

MMSPIKE_FN bool fires(float h, const BinaryOptions& o) { return h - o.threshold >= 0.0f; }

// What a spike is worth in the output.
template <int LEAK>
MMSPIKE_FN float spike_value(const BinaryOptions& o) {
    return LEAK == SCALE ? o.constant : 1.0f;
}

// Membrane potential after the spike.
template <bool HARD>
MMSPIKE_FN float reset(float h, const BinaryOptions& o) {
    if (HARD) return fires(h, o) ? o.v_reset : h;
    return fires(h, o) ? h - o.threshold : h;
}

// exp(x) for x <= 0 to within 2 units in the last place; a plain expression, so that compilers
// vectorise it, and the same on host and GPU.
MMSPIKE_FN float exp_negative(float x) {
    x = x < -87.0f ? -87.0f : x;
    // x = n * ln(2) + r with abs(r) <= ln(2) / 2; the sum with 1.5 * 2^23 rounds to n.
    const float shifted = MMSPIKE_FMA(x, 1.44269504088896341f, 12582912.0f);
    const float n = shifted - 12582912.0f;
    const float r = MMSPIKE_FMA(n, 2.12194440e-4f, MMSPIKE_FMA(n, -0.693359375f, x));
    float p = 1.9875691500e-4f;
    p = MMSPIKE_FMA(p, r, 1.3981999507e-3f);
    p = MMSPIKE_FMA(p, r, 8.3334519073e-3f);
    p = MMSPIKE_FMA(p, r, 4.1665795894e-2f);
    p = MMSPIKE_FMA(p, r, 1.6666665459e-1f);
    p = MMSPIKE_FMA(p, r, 5.0000001201e-1f);
    p = MMSPIKE_FMA(p, r * r, r) + 1.0f;
    // n stands in the low bits of the shifted number: no conversion to an integer is needed.
    return p * float_from_bits((bits_of_float(shifted) + 127u) << 23);
}

// 1 / (1 + x) for 0 <= x <= 1 to within 4 units in the last place: a parabola and two steps of
// Newton's, which take half the time of a division.
MMSPIKE_FN float reciprocal_of_one_plus(float x) {
    float r = MMSPIKE_FMA(MMSPIKE_FMA(0.32323232f, x, -0.80808081f), x, 0.98989899f);
    const float d = 1.0f + x;
    r = r * MMSPIKE_FMA(-d, r, 2.0f);
    return r * MMSPIKE_FMA(-d, r, 2.0f);
}

// Derivative of the spike with respect to u = h - threshold.
template <int SURROGATE>
MMSPIKE_FN float surrogate_derivative(float u, const BinaryOptions& o) {
    const float a = o.alpha;
    const float distance = u < 0.0f ? -u : u;
    if (SURROGATE == SIGMOID) {
        // With e = exp(-a |u|), s (1 - s) = e / (1 + e)^2.
        const float e = exp_negative(-a * distance);
        const float s = reciprocal_of_one_plus(e);
        return a * e * (s * s);
    }
    if (SURROGATE == ATAN) {
        const float w = 1.57079632679489662f * a * u;
        return 0.5f * a / (1.0f + w * w);
    }
    if (SURROGATE == RECTANGULAR) return distance < 1.0f / (2.0f * a) ? a : 0.0f;
    const float height = a - a * a * distance;
    return height > 0.0f ? height : 0.0f;
}

// Gradient at h from those at the spike and at the membrane after the reset, which may be kept out
// of the backward pass (DETACHED).
template <bool HARD, bool DETACHED>
MMSPIKE_FN float grad_fire(float h, float derivative, float grad_spike, float grad_v,
                           const BinaryOptions& o) {
    const float kept = HARD && fires(h, o) ? 0.0f : grad_v;
    const float grad = MMSPIKE_FMA(grad_spike, derivative, kept);
    if (DETACHED) return grad;
    return MMSPIKE_FMA(grad_v * derivative, HARD ? o.v_reset - h : -o.threshold, grad);
}

// Derivatives of the charge with respect to v and to x.
template <int LEAK>
MMSPIKE_FN float charge_by_v(const BinaryOptions& o) {
    return LEAK == NO_LEAK || LEAK == SCALE ? 1.0f : 1.0f - leak<LEAK>(1.0f, o);
}

template <int LEAK, bool DECAY_INPUT>
MMSPIKE_FN float charge_by_x(const BinaryOptions& o) {
    if (LEAK == SCALE) return 1.0f / o.constant;
    return LEAK == NO_LEAK || !DECAY_INPUT ? 1.0f : leak<LEAK>(1.0f, o);
}

// What a step adds to the gradient of the learned number, 1 / tau or the threshold: from the
// membrane before the charge and at h, the input, and the gradients at h and at the output.
template <int LEAK, bool DECAY_INPUT>
MMSPIKE_FN float grad_learned(float before, float h, float x, float grad_h, float grad_out,
                              const BinaryOptions& o) {
    if (LEAK == SCALE) {
        return (fires(h, o) ? grad_out : 0.0f) - grad_h * (x / o.constant / o.constant);
    }
    return grad_h * ((DECAY_INPUT ? x : 0.0f) - (before - o.v_reset));
}

// --- integer neurons ----------------------------------------------------------------------------

struct IntegerOptions {
    float D;
    float norm;
    float decay;      // what is left of the membrane after a step (I-LIF)
};

template <bool HALF_UP>
MMSPIKE_FN float integer_fire(float x, const IntegerOptions& o) {
    x = x < 0.0f ? 0.0f : x;    // written so that NaN stays NaN
    x = x > o.D ? o.D : x;
    // Adding and taking away 1.5 * 2^23 rounds to the nearest integer, halves to even.
    return HALF_UP ? MMSPIKE_FLOOR(x + 0.5f) : (x + 12582912.0f) - 12582912.0f;
}

template <bool STRICT>
MMSPIKE_FN bool inside_window(float x, const IntegerOptions& o) {
    return STRICT ? (x > 0.0f && x < o.D) : (x >= 0.0f && x <= o.D);
}

// Gradient at the membrane of I-LIF from those at the output and at the membrane after the reset;
// `passes` is 1 where the membrane lies inside the window, else 0.
MMSPIKE_FN float integer_grad(float grad_out, float grad_v, float passes, float through_reset,
                              float norm) {
    return grad_out / norm * passes + grad_v * (1.0f - through_reset * passes);
}

// --- quantised clip-floor-shift (QCFS) ----------------------------------------------------------

// x in units of the learned threshold, rounded to a multiple of 1 / levels.
MMSPIKE_FN float qcfs_level(float x, float threshold, float levels) {
    return MMSPIKE_FLOOR(x / threshold * levels + 0.5f) / levels;
}

MMSPIKE_FN float qcfs_fire(float level, float threshold) {
    level = level < 0.0f ? 0.0f : level;    // written so that NaN stays NaN
    level = level > 1.0f ? 1.0f : level;
    return level * threshold;
}

MMSPIKE_FN bool qcfs_passes(float level) { return level >= 0.0f && level <= 1.0f; }

// Derivative of the output with respect to the threshold; that to x is 1 where it passes.
MMSPIKE_FN float qcfs_by_threshold(float x, float level, float threshold) {
    const float slope = qcfs_passes(level) ? x / threshold : 0.0f;
    return qcfs_fire(level, 1.0f) - slope;
}

}  // namespace mmspike
