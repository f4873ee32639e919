// Gradient of the weight of a depthwise convolution with stride 1 and "same" padding.
//
// weight[i][j][c] is the sum of grad[y][x][c] * input[y + i - K / 2][x + j - K / 2][c] over all
// pixels of all images, with channels last. A row of the image is taken with one row of the kernel
// at a time, so that the sums of its K weights stay in registers.

#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t LANES = 16;
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float))));

struct DepthwiseArguments {
    const float* x;     // (images, height, width, channels)
    const float* grad;  // the same shape
    float* sums;        // (threads, kernel, kernel, channels)
    int64_t images, height, width, channels, kernel, threads;
};

// No result: a function that returns a vector differs between instruction sets.
inline void load(Lanes& lanes, const float* p, int64_t count) {
    lanes = Lanes{};
    std::memcpy(&lanes, p, count * sizeof(float));
}

// Adds one row of pixels to the K weights of one row of the kernel, for `count` channels.
template <int K>
inline void add_row(const float* x, const float* grad, float* sums, int64_t width, int64_t channels,
                    int64_t count) {
    Lanes total[K] = {};
    const auto column = [&](int64_t at, int first, int last) {
        Lanes g, value;
        load(g, grad + at * channels, count);
        for (int j = first; j < last; ++j) {
            load(value, x + (at + j - K / 2) * channels, count);
            total[j] += g * value;
        }
    };
    int64_t at = 0;
    const int64_t inside = width - K / 2;
    const auto at_border = [&](int64_t end) {
        for (; at < end; ++at) {
            const int64_t first = K / 2 - at, last = width - at + K / 2;
            column(at, first > 0 ? first : 0, last < K ? last : K);
        }
    };
    at_border(width < K / 2 ? width : K / 2);
    for (; at < inside; ++at) column(at, 0, K);
    at_border(width);
    for (int j = 0; j < K; ++j) {
        Lanes sum;
        load(sum, sums + j * channels, count);
        sum += total[j];
        std::memcpy(sums + j * channels, &sum, count * sizeof(float));
    }
}

// The rows of one thread.
template <int K>
void add_rows(const DepthwiseArguments& a, int64_t begin, int64_t end, float* sums) {
    std::memset(sums, 0, K * K * a.channels * sizeof(float));
    const int64_t length = a.width * a.channels;
    for (int64_t row = begin; row < end; ++row) {
        const int64_t y = row % a.height;
        for (int64_t i = 0; i < K; ++i) {
            if (y + i < K / 2 || y + i - K / 2 >= a.height) continue;
            const float* x = a.x + (row + i - K / 2) * length;
            const float* grad = a.grad + row * length;
            float* into = sums + i * K * a.channels;
            int64_t c = 0;
            for (; c + LANES <= a.channels; c += LANES) {
                add_row<K>(x + c, grad + c, into + c, a.width, a.channels, LANES);
            }
            if (c < a.channels) {
                add_row<K>(x + c, grad + c, into + c, a.width, a.channels, a.channels - c);
            }
        }
    }
}

template <int K>
void weight_gradient(const DepthwiseArguments& a) {
    const int64_t rows = a.images * a.height;
#pragma omp parallel for num_threads(a.threads) schedule(static, 1) if (a.threads > 1)
    for (int64_t thread = 0; thread < a.threads; ++thread) {
        add_rows<K>(a, rows * thread / a.threads, rows * (thread + 1) / a.threads,
                    a.sums + thread * K * K * a.channels);
    }
}

}  // namespace

extern "C" int mmspike_depthwise(const DepthwiseArguments* a) {
    switch (a->kernel) {
        case 5: weight_gradient<5>(*a); return 0;
        case 7: weight_gradient<7>(*a); return 0;
        default: return 1;
    }
}
