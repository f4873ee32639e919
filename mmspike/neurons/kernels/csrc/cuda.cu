// CUDA entry points: loops over time and neurons around the steps of neuron_steps.h.
//
// They work on sequences (T, N) laid out in T contiguous rows of N. A thread takes GROUP
// neighbouring neurons through all steps, with their membranes in registers, and goes on to others
// a grid further. ALIGNED rows are read and written 16 bytes at a time. Nothing is shared between
// threads: a sum over all neurons (the gradient of a learned number) is left in one part per
// thread, so that it is the same in every run, and so that these kernels also run, thread after
// thread, on a CPU in the tests.
#include "neuron_steps.h"
#include "storage.h"

namespace mmspike {

using int64 = long long;

// Neurons of a thread of the integer neurons: a byte of the mask.
constexpr int BYTE = 8;

// Numbers that are read and written together; a uint4 is what compilers keep in one access.
template <typename S>
union Words {
    uint4 all;
    S items[16 / sizeof(S)];
};

template <int GROUP, bool ALIGNED, typename S>
MMSPIKE_FN void load_group(const S* p, int count, float (&values)[GROUP]) {
    if constexpr (ALIGNED) {
        constexpr int WIDTH = 16 / sizeof(S);
#pragma unroll
        for (int first = 0; first < GROUP; first += WIDTH) {
            Words<S> words;
            words.all = *reinterpret_cast<const uint4*>(p + first);
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) values[first + i] = load(words.items + i);
        }
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; ++i) values[i] = i < count ? load(p + i) : 0.0f;
    }
}

template <int GROUP, bool ALIGNED, typename S>
MMSPIKE_FN void store_group(S* p, int count, const float (&values)[GROUP]) {
    if constexpr (ALIGNED) {
        constexpr int WIDTH = 16 / sizeof(S);
#pragma unroll
        for (int first = 0; first < GROUP; first += WIDTH) {
            Words<S> words;
#pragma unroll
            for (int i = 0; i < WIDTH; ++i) store(words.items + i, values[first + i]);
            *reinterpret_cast<uint4*>(p + first) = words.all;
        }
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; ++i) {
            if (i < count) store(p + i, values[i]);
        }
    }
}

// The membranes to start from, or those at rest.
template <int GROUP, bool ALIGNED>
MMSPIKE_FN void start(const float* from, float rest, int count, float (&v)[GROUP]) {
    if (from) {
        load_group<GROUP, ALIGNED>(from, count, v);
    } else {
#pragma unroll
        for (int i = 0; i < GROUP; ++i) v[i] = rest;
    }
}

MMSPIKE_FN int64 thread_index() {
    return static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
}
MMSPIKE_FN int64 thread_count() { return static_cast<int64>(gridDim.x) * blockDim.x; }

template <int GROUP>
MMSPIKE_FN int count_in_group(int64 first, int64 neurons) {
    return neurons - first < GROUP ? static_cast<int>(neurons - first) : GROUP;
}

// --- IF, LIF, PLIF, SpikingQCFS -----------------------------------------------------------------

// Membranes before the spike, over `length` steps, and v after them.
template <int LEAK, bool DECAY_INPUT, bool HARD, int SEGMENT, int GROUP, bool ALIGNED, typename S>
MMSPIKE_FN void run_segment(const S* x, int64 neurons, int length, int count, float (&v)[GROUP],
                            float (&h)[SEGMENT][GROUP], const BinaryOptions& o) {
#pragma unroll
    for (int k = 0; k < SEGMENT; ++k) {
        if (k < length) {
            float current[GROUP];
            load_group<GROUP, ALIGNED>(x + k * neurons, count, current);
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const float input = current_of<LEAK, S>(current[i], o);
                h[k][i] = charge<LEAK, DECAY_INPUT>(v[i], input, o);
                v[i] = reset<HARD>(h[k][i], o);
            }
        }
    }
}

// A learned number is read on the device: reading it on the host would wait for the GPU.
template <typename S, int LEAK, bool DECAY_INPUT, bool HARD, int GROUP, bool ALIGNED>
__global__ void binary_forward(const S* __restrict__ x, const float* __restrict__ v_start,
                               const float* __restrict__ learned, S* __restrict__ out,
                               float* __restrict__ v_end, int64 steps, int64 neurons,
                               float constant, float threshold, float v_reset) {
    const BinaryOptions o = {learned ? *learned : constant, threshold, v_reset, 0.0f};
    for (int64 first = thread_index() * GROUP; first < neurons; first += thread_count() * GROUP) {
        const int count = count_in_group<GROUP>(first, neurons);
        float v[GROUP];
        start<GROUP, ALIGNED>(v_start ? v_start + first : nullptr, v_reset, count, v);
        for (int64 t = 0; t < steps; ++t) {
            float current[GROUP], spikes[GROUP];
            load_group<GROUP, ALIGNED>(x + t * neurons + first, count, current);
#pragma unroll
            for (int i = 0; i < GROUP; ++i) {
                const float input = current_of<LEAK, S>(current[i], o);
                const float h = charge<LEAK, DECAY_INPUT>(v[i], input, o);
                spikes[i] = (fires(h, o) ? 1.0f : 0.0f) * spike_value<LEAK>(o);
                v[i] = reset<HARD>(h, o);
            }
            store_group<GROUP, ALIGNED>(out + t * neurons + first, count, spikes);
        }
        if (v_end) store_group<GROUP, ALIGNED>(v_end + first, count, v);
    }
}

// Backward computes the membranes once more, SEGMENT steps at a time, which fit into registers. A
// sequence of more steps than that is run through once before, to leave in `trace` the membrane at
// the start of each segment but the first.
template <typename S, int LEAK, bool DECAY_INPUT, bool HARD, bool DETACHED, int SURROGATE,
          int SEGMENT, int GROUP, bool ALIGNED>
__global__ void binary_backward(const S* __restrict__ x, const float* __restrict__ v_start,
                                const float* __restrict__ learned,
                                const S* __restrict__ grad_out,
                                const float* __restrict__ grad_v_end, float* __restrict__ trace,
                                S* __restrict__ grad_x, float* __restrict__ grad_v,
                                float* __restrict__ grad_of_learned, int64 steps, int64 neurons,
                                float constant, float threshold, float v_reset, float alpha) {
    const BinaryOptions o = {learned ? *learned : constant, threshold, v_reset, alpha};
    const float by_v = charge_by_v<LEAK>(o), by_x = charge_by_x<LEAK, DECAY_INPUT>(o);
    const int64 segments = (steps + SEGMENT - 1) / SEGMENT;
    float sum = 0.0f;
    for (int64 first = thread_index() * GROUP; first < neurons; first += thread_count() * GROUP) {
        const int count = count_in_group<GROUP>(first, neurons);
        float v[GROUP], h[SEGMENT][GROUP], g[GROUP];
        if (segments > 1) {
            start<GROUP, ALIGNED>(v_start ? v_start + first : nullptr, v_reset, count, v);
            for (int64 s = 0; s + 1 < segments; ++s) {
                run_segment<LEAK, DECAY_INPUT, HARD, SEGMENT, GROUP, ALIGNED>(
                    x + s * SEGMENT * neurons + first, neurons, SEGMENT, count, v, h, o);
                store_group<GROUP, ALIGNED>(trace + s * neurons + first, count, v);
            }
        }
        start<GROUP, ALIGNED>(grad_v_end ? grad_v_end + first : nullptr, 0.0f, count, g);
        for (int64 s = segments - 1; s >= 0; --s) {
            const int64 offset = s * SEGMENT * neurons + first;
            const int length = steps - s * SEGMENT < SEGMENT
                                   ? static_cast<int>(steps - s * SEGMENT) : SEGMENT;
            const float* from = s ? trace + (s - 1) * neurons : v_start;
            float before[GROUP];
            start<GROUP, ALIGNED>(from ? from + first : nullptr, v_reset, count, before);
#pragma unroll
            for (int i = 0; i < GROUP; ++i) v[i] = before[i];
            run_segment<LEAK, DECAY_INPUT, HARD, SEGMENT, GROUP, ALIGNED>(
                x + offset, neurons, length, count, v, h, o);
#pragma unroll
            for (int k = SEGMENT - 1; k >= 0; --k) {
                if (k < length) {
                    float grad[GROUP], at_x[GROUP];
                    load_group<GROUP, ALIGNED>(grad_out + offset + k * neurons, count, grad);
#pragma unroll
                    for (int i = 0; i < GROUP; ++i) {
                        const float slope = surrogate_derivative<SURROGATE>(h[k][i] - threshold, o);
                        const float at_spike = grad[i] * spike_value<LEAK>(o);
                        g[i] = grad_fire<HARD, DETACHED>(h[k][i], slope, at_spike, g[i], o);
                        at_x[i] = g[i] * by_x;
                    }
                    store_group<GROUP, ALIGNED>(grad_x + offset + k * neurons, count, at_x);
                    if (grad_of_learned) {
                        float current[GROUP];
                        load_group<GROUP, ALIGNED>(x + offset + k * neurons, count, current);
#pragma unroll
                        for (int i = 0; i < GROUP; ++i) {
                            const float old = k ? reset<HARD>(h[k ? k - 1 : 0][i], o) : before[i];
                            const float part = grad_learned<LEAK, DECAY_INPUT>(
                                old, h[k][i], current[i], g[i], grad[i], o);
                            sum += i < count ? part : 0.0f;
                        }
                    }
#pragma unroll
                    for (int i = 0; i < GROUP; ++i) g[i] *= by_v;
                }
            }
        }
        if (grad_v) store_group<GROUP, ALIGNED>(grad_v + first, count, g);
    }
    if (grad_of_learned) grad_of_learned[thread_index()] = sum;
}

// --- integer neurons ----------------------------------------------------------------------------

// A byte says for eight neurons where the gradient passes, the first in the lowest bit.
template <bool STRICT>
MMSPIKE_FN unsigned char pack(const float (&x)[BYTE], int count, const IntegerOptions& o) {
    unsigned bits = 0;
#pragma unroll
    for (int i = 0; i < BYTE; ++i) {
        bits |= (i < count && inside_window<STRICT>(x[i], o) ? 1u : 0u) << i;
    }
    return static_cast<unsigned char>(bits);
}

template <typename S, bool HALF_UP, bool STRICT, bool ALIGNED>
__global__ void sfa_forward(const S* __restrict__ x, S* __restrict__ out,
                            unsigned char* __restrict__ mask, int64 neurons, float D, float norm) {
    const IntegerOptions o = {D, norm, 0.0f};
    for (int64 first = thread_index() * BYTE; first < neurons; first += thread_count() * BYTE) {
        const int count = count_in_group<BYTE>(first, neurons);
        float current[BYTE], fired[BYTE];
        load_group<BYTE, ALIGNED>(x + first, count, current);
#pragma unroll
        for (int i = 0; i < BYTE; ++i) fired[i] = integer_fire<HALF_UP>(current[i], o) / norm;
        store_group<BYTE, ALIGNED>(out + first, count, fired);
        if (mask) mask[first / BYTE] = pack<STRICT>(current, count, o);
    }
}

template <typename S, bool ALIGNED>
__global__ void sfa_backward(const S* __restrict__ grad_out,
                             const unsigned char* __restrict__ mask, S* __restrict__ grad_x,
                             int64 neurons, float norm) {
    for (int64 first = thread_index() * BYTE; first < neurons; first += thread_count() * BYTE) {
        const int count = count_in_group<BYTE>(first, neurons);
        const unsigned bits = mask[first / BYTE];
        float grad[BYTE];
        load_group<BYTE, ALIGNED>(grad_out + first, count, grad);
#pragma unroll
        for (int i = 0; i < BYTE; ++i) grad[i] = (bits >> i) & 1u ? grad[i] / norm : 0.0f;
        store_group<BYTE, ALIGNED>(grad_x + first, count, grad);
    }
}

template <typename S, bool HALF_UP, bool STRICT, bool ALIGNED>
__global__ void ilif_forward(const S* __restrict__ x, const float* __restrict__ v_start,
                             S* __restrict__ out, float* __restrict__ v_end,
                             unsigned char* __restrict__ mask, int64 steps, int64 neurons, float D,
                             float norm, float decay) {
    const IntegerOptions o = {D, norm, decay};
    const int64 mask_row = (neurons + BYTE - 1) / BYTE;
    for (int64 first = thread_index() * BYTE; first < neurons; first += thread_count() * BYTE) {
        const int count = count_in_group<BYTE>(first, neurons);
        float v[BYTE];
        start<BYTE, ALIGNED>(v_start ? v_start + first : nullptr, 0.0f, count, v);
        for (int64 t = 0; t < steps; ++t) {
            float h[BYTE], fired[BYTE];
            load_group<BYTE, ALIGNED>(x + t * neurons + first, count, h);
#pragma unroll
            for (int i = 0; i < BYTE; ++i) {
                h[i] = decay * v[i] + h[i];
                const float spikes = integer_fire<HALF_UP>(h[i], o);
                fired[i] = spikes / norm;
                v[i] = h[i] - spikes;
            }
            store_group<BYTE, ALIGNED>(out + t * neurons + first, count, fired);
            if (mask) mask[t * mask_row + first / BYTE] = pack<STRICT>(h, count, o);
        }
        if (v_end) store_group<BYTE, ALIGNED>(v_end + first, count, v);
    }
}

template <typename S, bool ALIGNED>
__global__ void ilif_backward(const S* __restrict__ grad_out,
                              const unsigned char* __restrict__ mask,
                              const float* __restrict__ grad_v_end, S* __restrict__ grad_x,
                              float* __restrict__ grad_v, int64 steps, int64 neurons, float norm,
                              float decay, float through_reset) {
    const int64 mask_row = (neurons + BYTE - 1) / BYTE;
    for (int64 first = thread_index() * BYTE; first < neurons; first += thread_count() * BYTE) {
        const int count = count_in_group<BYTE>(first, neurons);
        float g[BYTE];
        start<BYTE, ALIGNED>(grad_v_end ? grad_v_end + first : nullptr, 0.0f, count, g);
        for (int64 t = steps - 1; t >= 0; --t) {
            const unsigned bits = mask[t * mask_row + first / BYTE];
            float grad[BYTE];
            load_group<BYTE, ALIGNED>(grad_out + t * neurons + first, count, grad);
#pragma unroll
            for (int i = 0; i < BYTE; ++i) {
                const float passes = static_cast<float>((bits >> i) & 1u);
                grad[i] = integer_grad(grad[i], g[i], passes, through_reset, norm);
                g[i] = grad[i] * decay;
            }
            store_group<BYTE, ALIGNED>(grad_x + t * neurons + first, count, grad);
        }
        if (grad_v) store_group<BYTE, ALIGNED>(grad_v + first, count, g);
    }
}

// --- QCFS ---------------------------------------------------------------------------------------

template <typename S, int GROUP, bool ALIGNED>
__global__ void qcfs_forward(const S* __restrict__ x, const float* __restrict__ threshold,
                             S* __restrict__ out, int64 neurons, float levels) {
    const float up = *threshold;
    for (int64 first = thread_index() * GROUP; first < neurons; first += thread_count() * GROUP) {
        const int count = count_in_group<GROUP>(first, neurons);
        float values[GROUP];
        load_group<GROUP, ALIGNED>(x + first, count, values);
#pragma unroll
        for (int i = 0; i < GROUP; ++i) {
            values[i] = qcfs_fire(qcfs_level(values[i], up, levels), up);
        }
        store_group<GROUP, ALIGNED>(out + first, count, values);
    }
}

template <typename S, int GROUP, bool ALIGNED>
__global__ void qcfs_backward(const S* __restrict__ x, const float* __restrict__ threshold,
                              const S* __restrict__ grad_out, S* __restrict__ grad_x,
                              float* __restrict__ grad_threshold, int64 neurons, float levels) {
    const float up = *threshold;
    float sum = 0.0f;
    for (int64 first = thread_index() * GROUP; first < neurons; first += thread_count() * GROUP) {
        const int count = count_in_group<GROUP>(first, neurons);
        float values[GROUP], grad[GROUP];
        load_group<GROUP, ALIGNED>(x + first, count, values);
        load_group<GROUP, ALIGNED>(grad_out + first, count, grad);
#pragma unroll
        for (int i = 0; i < GROUP; ++i) {
            const float level = qcfs_level(values[i], up, levels);
            sum += i < count ? grad[i] * qcfs_by_threshold(values[i], level, up) : 0.0f;
            grad[i] = qcfs_passes(level) ? grad[i] : 0.0f;
        }
        store_group<GROUP, ALIGNED>(grad_x + first, count, grad);
    }
    grad_threshold[thread_index()] = sum;
}

}  // namespace mmspike
