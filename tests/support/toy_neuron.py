"""What existing files get for the toy neuron and its kernels."""

from support.changes import after, before

REFERENCE = '''

def toy(x: Tensor, *, threshold: float) -> Tensor:
    """Fire where ``x`` reaches the threshold, ``(T, ...)``; gradients pass within 0.5 of it."""
    u = _at_least_float32(x) - threshold
    return spike(u, Surrogate('rectangular', 1.0)).to(x.dtype)
'''
FUNCTIONAL = '''def toy(x: Tensor, *, threshold: float) -> Tensor:
    """The toy, see :func:`mmspike.neurons.reference.toy`."""
    if x.dim() and use_kernels(x):
        return ops.run(ops.toy, x, threshold)
    return reference.toy(x, threshold=threshold)


'''
STEPS = """
MMSPIKE_FN float toy_fire(float x, float threshold) { return x - threshold >= 0.0f ? 1.0f : 0.0f; }
MMSPIKE_FN bool toy_passes(float x, float threshold) {
    const float u = x - threshold;
    return u < 0.5f && u > -0.5f;
}"""
CPU_KERNELS = """
struct ToyArguments {
    const void* x;
    void* out;
    const void* grad_out;
    void* grad_x;
    int64_t neurons, threads;
    int64_t begin, end;
    float threshold;
};
inline void move_to_thread(ToyArguments&, int64_t) {}

template <typename S>
void toy_forward(const ToyArguments& a) {
    const S* x = static_cast<const S*>(a.x);
    S* out = static_cast<S*>(a.out);
    for (int64_t i = a.begin; i < a.end; ++i) store(out + i, toy_fire(load(x + i), a.threshold));
}

template <typename S>
void toy_backward(const ToyArguments& a) {
    const S *x = static_cast<const S*>(a.x), *grad_out = static_cast<const S*>(a.grad_out);
    S* grad_x = static_cast<S*>(a.grad_x);
    for (int64_t i = a.begin; i < a.end; ++i) {
        store(grad_x + i, toy_passes(load(x + i), a.threshold) ? load(grad_out + i) : 0.0f);
    }
}
"""
CPU_ENTRY = """
int mmspike_toy(const ToyArguments* a, int dtype, int backward) {
    MMSPIKE_DISPATCH(dtype, on_all_threads(*a, [=](const ToyArguments& r) {
        backward ? toy_backward<S>(r) : toy_forward<S>(r);
    }))
}"""
CUDA_KERNELS = """
template <typename S, int GROUP, bool ALIGNED>
__global__ void toy_forward(const S* __restrict__ x, S* __restrict__ out, int64 neurons,
                            float threshold) {
    for (int64 first = thread_index() * GROUP; first < neurons; first += thread_count() * GROUP) {
        const int count = count_in_group<GROUP>(first, neurons);
        float values[GROUP];
        load_group<GROUP, ALIGNED>(x + first, count, values);
        for (int i = 0; i < GROUP; ++i) values[i] = toy_fire(values[i], threshold);
        store_group<GROUP, ALIGNED>(out + first, count, values);
    }
}

template <typename S, int GROUP, bool ALIGNED>
__global__ void toy_backward(const S* __restrict__ x, const S* __restrict__ grad_out,
                             S* __restrict__ grad_x, int64 neurons, float threshold) {
    for (int64 first = thread_index() * GROUP; first < neurons; first += thread_count() * GROUP) {
        const int count = count_in_group<GROUP>(first, neurons);
        float values[GROUP], grad[GROUP];
        load_group<GROUP, ALIGNED>(x + first, count, values);
        load_group<GROUP, ALIGNED>(grad_out + first, count, grad);
        for (int i = 0; i < GROUP; ++i) grad[i] = toy_passes(values[i], threshold) ? grad[i] : 0.0f;
        store_group<GROUP, ALIGNED>(grad_x + first, count, grad);
    }
}
"""
ARGUMENTS = '''class ToyArguments(ctypes.Structure):
    """Mirror of the C struct of the same name."""

    _fields_ = [
        *pointers('x', 'out', 'grad_out', 'grad_x'),
        *counts('neurons', 'threads', 'begin', 'end'),
        *floats('threshold'),
    ]


'''
CPU = '''
def _run_toy(x: Tensor, threshold: float, *, backward: bool, **tensors: Tensor) -> None:
    arguments = ToyArguments(
        x=pointer_of(x), neurons=x.numel(), threads=threads_for(x.numel()), threshold=threshold,
        **{name: pointer_of(tensor) for name, tensor in tensors.items()},
    )
    call('mmspike_toy', arguments, DTYPES[x.dtype], backward)


def toy_forward(x: Tensor, out: Tensor, threshold: float) -> None:
    """Fill ``out``."""
    _run_toy(x, threshold, backward=False, out=out)


def toy_backward(x: Tensor, grad_out: Tensor, grad_x: Tensor, threshold: float) -> None:
    """Fill ``grad_x``."""
    _run_toy(x, threshold, backward=True, grad_out=grad_out, grad_x=grad_x)

'''
CUDA = '''
def _launch_toy(kernel: str, threshold: float, *tensors: Tensor) -> None:
    x = tensors[0]
    group, aligned = _group(x.numel(), *tensors)
    launch(
        _template(kernel, STORAGE[x.dtype], group, aligned),
        _blocks(x.numel(), group, x.device), x.device,
        (*map(_pointer, tensors), x.numel(), np.float32(threshold)),
    )


def toy_forward(x: Tensor, out: Tensor, threshold: float) -> None:
    """Fill ``out``."""
    _launch_toy('toy_forward', threshold, x, out)


def toy_backward(x: Tensor, grad_out: Tensor, grad_x: Tensor, threshold: float) -> None:
    """Fill ``grad_x``."""
    _launch_toy('toy_backward', threshold, x, grad_out, grad_x)

'''
NEURONS, KERNELS = 'mmspike/neurons', 'mmspike/neurons/kernels'
CHANGES = {
    f'{NEURONS}/__init__.py': (
        after(
            'from mmspike.neurons.spiking_qcfs import SpikingQCFS',
            'from mmspike.neurons.toy import Toy',
        ),
        after("    'SpikingQCFS',", "    'Toy',"),
    ),
    f'{NEURONS}/reference.py': (
        after('    return torch.full_like(_at_least_float32(x[0]), rest)', REFERENCE),
    ),
    f'{NEURONS}/functional.py': (
        before('def quantised_clip_floor_shift(', FUNCTIONAL),
        after("    'spiking_clip_floor_shift',", "    'toy',"),
    ),
    f'{KERNELS}/csrc/neuron_steps.h': (
        after(
            'MMSPIKE_FN bool qcfs_passes(float level) { return level >= 0.0f && level <= 1.0f; }',
            STEPS,
        ),
    ),
    f'{KERNELS}/csrc/cpu.cpp': (
        before('struct QcfsArguments {', CPU_KERNELS),
        after('extern "C" {', CPU_ENTRY),
    ),
    f'{KERNELS}/csrc/cuda.cu': (
        before(
            '// --- QCFS -----------------------------------------------------------------------'
            '----------------',
            CUDA_KERNELS,
        ),
    ),
    f'{KERNELS}/cpu.py': (
        before('class QcfsArguments(ctypes.Structure):', ARGUMENTS),
        after("    'sfa_forward',", "    'toy_backward',\n    'toy_forward',"),
        before(
            'def qcfs_forward(x: Tensor, threshold: Tensor, out: Tensor, levels: int) -> None:', CPU
        ),
    ),
    f'{KERNELS}/cuda.py': (
        before(
            'def qcfs_forward(x: Tensor, threshold: Tensor, out: Tensor, levels: int) -> None:',
            CUDA,
        ),
    ),
    f'{KERNELS}/ops/__init__.py': (
        after(
            'from mmspike.neurons.kernels.ops.sfa import sfa',
            'from mmspike.neurons.kernels.ops.toy import toy',
        ),
        after("__all__ = ['binary', 'ilif', 'qcfs', 'run', 'sfa']", "__all__ += ['toy']"),
    ),
}
