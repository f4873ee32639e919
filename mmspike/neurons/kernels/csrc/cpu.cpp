// Host entry points: loops over time and neurons around the steps of neuron_steps.h.
//
// A plain C interface, called through ctypes, so that the library depends on no torch version and
// compiles in seconds. A call works on sequences (T, N) laid out in T contiguous rows of N, and
// splits the neurons among the threads of the OpenMP runtime that torch has loaded: the library is
// linked to none, since the threads of a second one would fight with torch's for the cores.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include "neuron_steps.h"
#include "storage.h"

namespace {

using namespace mmspike;

// Neurons that are taken through all steps together: long enough rows for the prefetcher, and a
// membrane that stays in the first-level cache.
constexpr int64_t BLOCK = 1024;
// Neurons of a block in the backward pass of binary neurons, where the membrane of every step is
// kept: inputs, gradients and membranes of 4 steps fit into the first-level cache, of 64 into the
// second.
inline int64_t backward_block(int64_t steps) {
    const int64_t most = 65536 / steps / 16 * 16;
    return most < 16 ? 16 : most > 256 ? 256 : most;
}

// Elements between prefetches: whole cache lines, and several vectors of any instruction set.
constexpr int64_t STRIP = 64;
constexpr int64_t LINE = 64;  // bytes of a cache line

// Calls body(i) for all i below count. Meanwhile, memory that is needed next is fetched: rows
// change too often for the processor's own prefetching. `reads` and `writes` may be null.
template <typename S, typename Body>
inline void sweep(int64_t count, const S* reads, const S* writes, Body body) {
    int64_t first = 0;
    for (; first + STRIP <= count; first += STRIP) {
        for (int64_t i = first; i < first + STRIP; i += LINE / static_cast<int64_t>(sizeof(S))) {
            if (reads) __builtin_prefetch(reads + i, 0, 2);
            if (writes) __builtin_prefetch(writes + i, 1, 2);
        }
#pragma GCC ivdep
        for (int64_t i = first; i < first + STRIP; ++i) body(i);
    }
#pragma GCC ivdep
    for (int64_t i = first; i < count; ++i) body(i);
}

struct BinaryArguments {
    const void* x;
    const float* v;         // membrane to start from; null: at rest
    void* out;              // forward: spikes
    float* v_end;           // membrane after the last step; null: not wanted
    const void* grad_out;   // backward: gradient at the spikes
    const float* grad_v_end;  // null: zero
    void* grad_x;
    float* grad_v;          // null: not wanted
    double* grad_learned;   // one sum per thread; null: not wanted
    int64_t steps, neurons, threads;
    int64_t begin, end;     // the range of one thread, set here
    int32_t detach_reset;
    BinaryOptions options;
};

// Sum in 16 lanes, which compilers vectorise without being allowed to reorder it.
inline float sum(const float* values, int64_t count) {
    float lanes[16] = {};
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (int lane = 0; lane < 16; ++lane) lanes[lane] += values[i + lane];
    }
    for (; i < count; ++i) lanes[i % 16] += values[i];
    float total = 0.0f;
    for (float lane : lanes) total += lane;
    return total;
}

inline void start(float* v, const float* from, float rest, int64_t first, int64_t count) {
    if (from) {
        std::memcpy(v, from + first, count * sizeof(float));
    } else {
        for (int64_t i = 0; i < count; ++i) v[i] = rest;
    }
}

template <typename S, int LEAK, bool DECAY_INPUT, bool HARD>
void binary_forward(const BinaryArguments& a) {
    const BinaryOptions o = a.options;
    const S* x = static_cast<const S*>(a.x);
    S* out = static_cast<S*>(a.out);
    float v[BLOCK];
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        start(v, a.v, o.v_reset, first, count);
        for (int64_t t = 0; t < a.steps; ++t) {
            const int64_t here = t * a.neurons + first;
            const int64_t next = t + 1 < a.steps ? here + a.neurons : first + BLOCK;
            const S* xt = x + here;
            S* st = out + here;
            sweep(count, x + next, out + next, [&](int64_t i) {
                const float current = current_of<LEAK, S>(load(xt + i), o);
                const float h = charge<LEAK, DECAY_INPUT>(v[i], current, o);
                store(st + i, (fires(h, o) ? 1.0f : 0.0f) * spike_value<LEAK>(o));
                v[i] = reset<HARD>(h, o);
            });
        }
        if (a.v_end) std::memcpy(a.v_end + first, v, count * sizeof(float));
    }
}

template <int SURROGATE>
void derivatives(const float* h, float* out, int64_t count, const BinaryOptions& options) {
    const BinaryOptions o = options;
#pragma GCC ivdep
    for (int64_t i = 0; i < count; ++i) {
        out[i] = surrogate_derivative<SURROGATE>(h[i] - o.threshold, o);
    }
}

using Derivatives = void (*)(const float*, float*, int64_t, const BinaryOptions&);
constexpr Derivatives DERIVATIVES[] = {
    derivatives<SIGMOID>, derivatives<ATAN>, derivatives<RECTANGULAR>, derivatives<TRIANGULAR>};

template <typename S, int LEAK, bool DECAY_INPUT, bool HARD, bool DETACHED>
void binary_backward(const BinaryArguments& a, Derivatives derivatives_of) {
    const BinaryOptions o = a.options;
    const S* x = static_cast<const S*>(a.x);
    const S* grad_out = static_cast<const S*>(a.grad_out);
    S* grad_x = static_cast<S*>(a.grad_x);
    const int64_t block = backward_block(a.steps);
    std::vector<float> h(a.steps * block);
    float v[BLOCK], derivative[BLOCK], grad_v[BLOCK];
    const float by_v = charge_by_v<LEAK>(o), by_x = charge_by_x<LEAK, DECAY_INPUT>(o);
    double total = 0.0;
    for (int64_t first = a.begin; first < a.end; first += block) {
        const int64_t count = a.end - first < block ? a.end - first : block;
        // Forward once more: reading x again is cheaper than writing and reading a trace.
        start(v, a.v, o.v_reset, first, count);
        for (int64_t t = 0; t < a.steps; ++t) {
            const S* xt = x + t * a.neurons + first;
            float* ht = h.data() + t * block;
            const int64_t later = (a.steps - 1 - t) * a.neurons + first;
            sweep(count, grad_out + later, grad_x + later, [&](int64_t i) {
                ht[i] = charge<LEAK, DECAY_INPUT>(v[i], current_of<LEAK, S>(load(xt + i), o), o);
                v[i] = reset<HARD>(ht[i], o);
            });
        }
        start(grad_v, a.grad_v_end, 0.0f, first, count);
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            const float* ht = h.data() + t * block;
            const S* gt = grad_out + t * a.neurons + first;
            S* gx = grad_x + t * a.neurons + first;
            derivatives_of(ht, derivative, count, o);
            const S* next_block = x + (a.steps - 1 - t) * a.neurons + first + block;
            sweep<S>(count, next_block, nullptr, [&](int64_t i) {
                const float grad = load(gt + i) * spike_value<LEAK>(o);
                const float g = grad_fire<HARD, DETACHED>(ht[i], derivative[i], grad, grad_v[i], o);
                store(gx + i, g * by_x);
                grad_v[i] = g * by_v;
                derivative[i] = g;  // handed to the gradient of the learned number below
            });
            if ((LEAK == MULTIPLY || LEAK == SCALE) && a.grad_learned) {
                const S* xt = x + t * a.neurons + first;
                for (int64_t i = 0; i < count; ++i) {
                    const float before = t ? reset<HARD>(h[(t - 1) * block + i], o)
                                           : (a.v ? a.v[first + i] : o.v_reset);
                    derivative[i] = grad_learned<LEAK, DECAY_INPUT>(
                        before, ht[i], load(xt + i), derivative[i], load(gt + i), o);
                }
                total += sum(derivative, count);
            }
        }
        if (a.grad_v) std::memcpy(a.grad_v + first, grad_v, count * sizeof(float));
    }
    if (a.grad_learned) *a.grad_learned = total;
}

struct IntegerArguments {
    const void* x;
    const float* v;
    void* out;
    float* v_end;
    uint8_t* mask;          // one bit per element of x, where the gradient passes, in rows of whole
                            // bytes, one per step; null: not wanted
    const void* grad_out;
    const float* grad_v_end;
    void* grad_x;
    float* grad_v;
    int64_t steps, neurons, threads;
    int64_t begin, end;     // the range of one thread, set here
    int32_t detach_reset;
    IntegerOptions options;
};

// Bits of a block of the mask, from bytes 0 or 1. `first` is a multiple of 8, so that threads share
// no byte.
inline void pack(uint8_t* inside, int64_t count, uint8_t* mask) {
    int64_t i = 0;
#if defined(__AVX2__)
    for (; i + 32 <= count; i += 32) {
        const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inside + i));
        const int bits = _mm256_movemask_epi8(_mm256_slli_epi16(bytes, 7));
        std::memcpy(mask + i / 8, &bits, 4);
    }
#endif
    for (int64_t k = count; k % 8; ++k) inside[k] = 0;
    for (; i < count; i += 8) {
        // Gathers the low bits of eight bytes into one byte, the first in the lowest bit.
        uint64_t bytes;
        std::memcpy(&bytes, inside + i, 8);
        mask[i / 8] = static_cast<uint8_t>((bytes * 0x0102040810204080ull) >> 56);
    }
}

inline void unpack(const uint8_t* mask, int64_t count, int32_t* inside) {
    for (int64_t i = 0; i < (count + 7) / 8; ++i) {
        for (int bit = 0; bit < 8; ++bit) inside[i * 8 + bit] = (mask[i] >> bit) & 1;
    }
}

// Stateless integer neuron.
template <typename S, bool HALF_UP, bool STRICT>
void sfa_forward(const IntegerArguments& a) {
    const IntegerOptions o = a.options;
    const S* x = static_cast<const S*>(a.x);
    S* out = static_cast<S*>(a.out);
    uint8_t inside[BLOCK];
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        sweep(count, x + first + BLOCK, out + first + BLOCK, [&](int64_t i) {
            store(out + first + i, integer_fire<HALF_UP>(load(x + first + i), o) / o.norm);
        });
        if (!a.mask) continue;
#pragma GCC ivdep
        for (int64_t i = 0; i < count; ++i) {
            inside[i] = inside_window<STRICT>(load(x + first + i), o);
        }
        pack(inside, count, a.mask + first / 8);
    }
}

template <typename S>
void sfa_backward(const IntegerArguments& a) {
    const float scale = 1.0f / a.options.norm;
    const bool exact = scale * a.options.norm == 1.0f;
    const float norm = a.options.norm;
    const S* grad_out = static_cast<const S*>(a.grad_out);
    S* grad_x = static_cast<S*>(a.grad_x);
    int32_t inside[BLOCK];
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        unpack(a.mask + first / 8, count, inside);
        sweep(count, grad_out + first + BLOCK, grad_x + first + BLOCK, [&](int64_t i) {
            const float g = load(grad_out + first + i);
            store(grad_x + first + i, inside[i] ? (exact ? g * scale : g / norm) : 0.0f);
        });
    }
}

template <typename S, bool HALF_UP, bool STRICT>
void ilif_forward(const IntegerArguments& a) {
    const IntegerOptions o = a.options;
    const S* x = static_cast<const S*>(a.x);
    S* out = static_cast<S*>(a.out);
    const int64_t mask_row = (a.neurons + 7) / 8;
    float v[BLOCK];
    uint8_t inside[BLOCK];
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        start(v, a.v, 0.0f, first, count);
        for (int64_t t = 0; t < a.steps; ++t) {
            const int64_t here = t * a.neurons + first;
            const int64_t next = t + 1 < a.steps ? here + a.neurons : first + BLOCK;
            sweep(count, x + next, out + next, [&](int64_t i) {
                const float h = o.decay * v[i] + load(x + here + i);
                const float fired = integer_fire<HALF_UP>(h, o);
                store(out + here + i, fired / o.norm);
                inside[i] = inside_window<STRICT>(h, o);
                v[i] = h - fired;
            });
            if (a.mask) pack(inside, count, a.mask + t * mask_row + first / 8);
        }
        if (a.v_end) std::memcpy(a.v_end + first, v, count * sizeof(float));
    }
}

// The gradient asks of the membrane only whether it was inside the window: the mask says that.
template <typename S>
void ilif_backward(const IntegerArguments& a) {
    const IntegerOptions o = a.options;
    const S* grad_out = static_cast<const S*>(a.grad_out);
    S* grad_x = static_cast<S*>(a.grad_x);
    const int64_t mask_row = (a.neurons + 7) / 8;
    const float through_reset = a.detach_reset ? 0.0f : 1.0f;
    float grad_v[BLOCK];
    int32_t inside[BLOCK];
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        start(grad_v, a.grad_v_end, 0.0f, first, count);
        for (int64_t t = a.steps - 1; t >= 0; --t) {
            const int64_t here = t * a.neurons + first;
            const int64_t next = t ? here - a.neurons : (a.steps - 1) * a.neurons + first + BLOCK;
            unpack(a.mask + t * mask_row + first / 8, count, inside);
            sweep(count, grad_out + next, grad_x + next, [&](int64_t i) {
                const float passes = static_cast<float>(inside[i]);
                const float grad = load(grad_out + here + i);
                const float g = integer_grad(grad, grad_v[i], passes, through_reset, o.norm);
                store(grad_x + here + i, g);
                grad_v[i] = g * o.decay;
            });
        }
        if (a.grad_v) std::memcpy(a.grad_v + first, grad_v, count * sizeof(float));
    }
}

struct QcfsArguments {
    const void* x;
    void* out;
    const void* grad_out;
    void* grad_x;
    double* grad_threshold;  // one sum per thread
    int64_t neurons, threads;
    int64_t begin, end;      // the range of one thread, set here
    float threshold, levels;
};

template <typename S>
void qcfs_forward(const QcfsArguments& a) {
    const float threshold = a.threshold, levels = a.levels;
    const S* x = static_cast<const S*>(a.x);
    S* out = static_cast<S*>(a.out);
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        sweep(count, x + first + BLOCK, out + first + BLOCK, [&](int64_t i) {
            const float level = qcfs_level(load(x + first + i), threshold, levels);
            store(out + first + i, qcfs_fire(level, threshold));
        });
    }
}

template <typename S>
void qcfs_backward(const QcfsArguments& a) {
    const float threshold = a.threshold, levels = a.levels;
    const S* x = static_cast<const S*>(a.x);
    const S* grad_out = static_cast<const S*>(a.grad_out);
    S* grad_x = static_cast<S*>(a.grad_x);
    double total = 0.0;
    float parts[BLOCK];
    for (int64_t first = a.begin; first < a.end; first += BLOCK) {
        const int64_t count = a.end - first < BLOCK ? a.end - first : BLOCK;
        sweep<S>(count, x + first + BLOCK, grad_x + first + BLOCK, [&](int64_t i) {
            const float value = load(x + first + i), grad = load(grad_out + first + i);
            const float level = qcfs_level(value, threshold, levels);
            parts[i] = grad * qcfs_by_threshold(value, level, threshold);
            store(grad_x + first + i, qcfs_passes(level) ? grad : 0.0f);
        });
        total += sum(parts, count);
    }
    *a.grad_threshold = total;
}

// More spikes of one neuron than this could overflow a sum over 65536 rows, of which there are no
// more.
constexpr float MOST_SPIKES = 32767.0f;

struct CountArguments {
    const void* x;           // (samples, rows, columns): multiples of what a spike is worth
    double* sums;            // (samples, columns): spikes along the rows
    double* totals;          // per thread: spikes, outputs that are not 0
    int64_t rows, columns;
    int64_t neurons;         // samples * columns, which are shared among the threads
    int64_t threads;
    int64_t begin, end;      // the range of one thread, set here
    int32_t* strange;        // set to 1 where a value is no number of spikes
    float spike_value;        // neither it nor its inverse is 0 or infinite
};

// Both numbers in one pass. Spikes are counted as integers, so that no sum is ever rounded. NaN,
// negative values and what does not fit are only reported.
template <typename S>
void count_spikes(const CountArguments& a) {
    const float per_value = 1.0f / a.spike_value;
    int32_t spikes[BLOCK], active[BLOCK];
    double all_spikes = 0.0, all_active = 0.0;
    int64_t count = 0;
    unsigned strange = 0;
    const unsigned most = bits_of_float(MOST_SPIKES);
    for (int64_t first = a.begin; first < a.end; first += count) {
        const int64_t sample = first / a.columns, column = first % a.columns;
        count = a.end - first < BLOCK ? a.end - first : BLOCK;
        if (count > a.columns - column) count = a.columns - column;
        std::memset(spikes, 0, count * sizeof(int32_t));
        std::memset(active, 0, count * sizeof(int32_t));
        const S* x = static_cast<const S*>(a.x) + sample * a.rows * a.columns + column;
        for (int64_t row = 0; row < a.rows; ++row, x += a.columns) {
            sweep<S>(count, x + a.columns, nullptr, [&](int64_t i) {
                const float value = load(x + i) * per_value + 0.5f;
                // The cast is defined only for what fits. As bits, negative values and NaN are
                // above all others.
                const unsigned bits = bits_of_float(value);
                const unsigned kept = bits < most ? bits : most;
                strange |= bits ^ kept;
                const int32_t fired = static_cast<int32_t>(float_from_bits(kept));
                spikes[i] += fired;
                active[i] += fired != 0;
            });
        }
        int64_t block_spikes = 0, block_active = 0;
        for (int64_t i = 0; i < count; ++i) {
            a.sums[first + i] = spikes[i];
            block_spikes += spikes[i];
            block_active += active[i];
        }
        all_spikes += static_cast<double>(block_spikes);
        all_active += static_cast<double>(block_active);
    }
    a.totals[0] = all_spikes;
    a.totals[1] = all_active;
    if (strange) {
#pragma omp atomic write
        *a.strange = 1;
    }
}

// --- from runtime options to template arguments -------------------------------------------------

template <typename S, int LEAK, bool DECAY_INPUT, bool HARD>
void binary(const BinaryArguments& a, int surrogate, bool backward) {
    if (!backward) return binary_forward<S, LEAK, DECAY_INPUT, HARD>(a);
    const Derivatives of = DERIVATIVES[surrogate];
    a.detach_reset ? binary_backward<S, LEAK, DECAY_INPUT, HARD, true>(a, of)
                   : binary_backward<S, LEAK, DECAY_INPUT, HARD, false>(a, of);
}

template <typename S, int LEAK, bool DECAY_INPUT>
void binary(const BinaryArguments& a, bool hard, int surrogate, bool backward) {
    hard ? binary<S, LEAK, DECAY_INPUT, true>(a, surrogate, backward)
         : binary<S, LEAK, DECAY_INPUT, false>(a, surrogate, backward);
}

template <typename S>
void binary(const BinaryArguments& a, int kind, bool decay_input, bool hard, int surrogate,
            bool backward) {
    if (kind == NO_LEAK) return binary<S, NO_LEAK, false>(a, hard, surrogate, backward);
    if (kind == SCALE) return binary<S, SCALE, false, false>(a, surrogate, backward);
    if (kind == DIVIDE) {
        return decay_input ? binary<S, DIVIDE, true>(a, hard, surrogate, backward)
                           : binary<S, DIVIDE, false>(a, hard, surrogate, backward);
    }
    return decay_input ? binary<S, MULTIPLY, true>(a, hard, surrogate, backward)
                       : binary<S, MULTIPLY, false>(a, hard, surrogate, backward);
}

template <typename S>
void sfa(const IntegerArguments& a, bool half_up, bool strict, bool backward) {
    if (backward) return sfa_backward<S>(a);
    if (half_up) return strict ? sfa_forward<S, true, true>(a) : sfa_forward<S, true, false>(a);
    return strict ? sfa_forward<S, false, true>(a) : sfa_forward<S, false, false>(a);
}

template <typename S>
void ilif(const IntegerArguments& a, bool half_up, bool strict, bool backward) {
    if (backward) return ilif_backward<S>(a);
    if (half_up) return strict ? ilif_forward<S, true, true>(a) : ilif_forward<S, true, false>(a);
    return strict ? ilif_forward<S, false, true>(a) : ilif_forward<S, false, false>(a);
}

inline void move_to_thread(BinaryArguments& a, int64_t thread) {
    if (a.grad_learned) a.grad_learned += thread;
}
inline void move_to_thread(IntegerArguments&, int64_t) {}
inline void move_to_thread(QcfsArguments& a, int64_t thread) {
    if (a.grad_threshold) a.grad_threshold += thread;
}
inline void move_to_thread(CountArguments& a, int64_t thread) { a.totals += 2 * thread; }

// Calls `run` with the range of every thread; ranges begin at multiples of ALIGN.
template <int64_t ALIGN = BLOCK, typename Arguments, typename Run>
void on_all_threads(const Arguments& all, Run run) {
    const int64_t blocks = (all.neurons + ALIGN - 1) / ALIGN;
#pragma omp parallel for num_threads(all.threads) schedule(static, 1) if (all.threads > 1)
    for (int64_t thread = 0; thread < all.threads; ++thread) {
        Arguments a = all;
        a.begin = blocks * thread / all.threads * ALIGN;
        const int64_t end = blocks * (thread + 1) / all.threads * ALIGN;
        a.end = end < all.neurons ? end : all.neurons;
        move_to_thread(a, thread);
        run(a);
    }
}

}  // namespace

// Storage types by number: 0 float32, 1 float16, 2 bfloat16. Unknown ones leave 1 as the result.
#if defined(MMSPIKE_FLOAT16)
#define MMSPIKE_HALF(...) \
    case 1: { using S = Float16; __VA_ARGS__; return 0; }
#else
#define MMSPIKE_HALF(...)
#endif
#define MMSPIKE_DISPATCH(dtype, ...)                           \
    switch (dtype) {                                           \
        case 0: { using S = float; __VA_ARGS__; return 0; }    \
        MMSPIKE_HALF(__VA_ARGS__)                              \
        case 2: { using S = BFloat16; __VA_ARGS__; return 0; } \
        default: return 1;                                     \
    }

extern "C" {

int mmspike_binary(const BinaryArguments* a, int dtype, int kind, int decay_input, int hard,
                   int surrogate, int backward) {
    MMSPIKE_DISPATCH(dtype, on_all_threads(*a, [=](const BinaryArguments& r) {
        binary<S>(r, kind, decay_input, hard, surrogate, backward);
    }))
}

int mmspike_sfa(const IntegerArguments* a, int dtype, int half_up, int strict, int backward) {
    MMSPIKE_DISPATCH(dtype, on_all_threads(*a, [=](const IntegerArguments& r) {
        sfa<S>(r, half_up, strict, backward);
    }))
}

int mmspike_ilif(const IntegerArguments* a, int dtype, int half_up, int strict, int backward) {
    MMSPIKE_DISPATCH(dtype, on_all_threads(*a, [=](const IntegerArguments& r) {
        ilif<S>(r, half_up, strict, backward);
    }))
}

int mmspike_qcfs(const QcfsArguments* a, int dtype, int backward) {
    MMSPIKE_DISPATCH(dtype, on_all_threads(*a, [=](const QcfsArguments& r) {
        backward ? qcfs_backward<S>(r) : qcfs_forward<S>(r);
    }))
}

int mmspike_count(const CountArguments* a, int dtype) {
    MMSPIKE_DISPATCH(dtype, on_all_threads<STRIP>(*a, [=](const CountArguments& r) {
        count_spikes<S>(r);
    }))
}

}  // extern "C"
