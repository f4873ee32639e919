"""The memory models that are known by name."""

from mmspike.energy.memory import Memory, MemoryModel
from mmspike.energy.reuse import ReuseModel

LEMAIRE = MemoryModel(
    'lemaire2022',
    points=((0, 0.0), (8 * 1024, 10.0), (32 * 1024, 20.0), (1024 * 1024, 100.0)),
    word_bytes=4,
    queue=1000,
    source='E. Lemaire et al., An Analytical Estimation of Spiking Neural Networks Energy '
    'Efficiency, ICONIP 2022 (arXiv 2210.13107), on SRAM at 45 nm: 10 pJ per access to 8 kB, '
    '20 pJ to 32 kB, 100 pJ to 1 MB (Horowitz, ISSCC 2014)',
)
HOROWITZ = MemoryModel(
    'horowitz2014',
    points=((0, 0.0), (8 * 1024, 5.0), (32 * 1024, 10.0), (1024 * 1024, 50.0)),
    word_bytes=4,
    queue=1000,
    source='accesses as in lemaire2022. M. Horowitz, ISSCC 2014, SRAM at 45 nm, whose 10, 20 and '
    '100 pJ are of 64 bits: half of it for a word of 32 bits',
)
STEP = MemoryModel(
    'step2025',
    points=((0, 3.12 * 32),),
    word_bytes=4,
    queue=1000,
    source='accesses as in lemaire2022; 3.12 pJ per bit, whatever the size. Shen et al., STEP, '
    'arXiv 2505.11151, Table 9, as spikingjelly quotes it',
)
# An access costs so many multiply-accumulate operations of 16 bits, which are 0.85 pJ by
# mmspike.energy.bit_costs.HOROWITZ_INTEGERS.
_MAC16_PER_BIT = 0.85 / 16
EYERISS = ReuseModel(
    'eyeriss2016',
    near_pj=1 * _MAC16_PER_BIT,
    buffer_pj=6 * _MAC16_PER_BIT,
    outside_pj=200 * _MAC16_PER_BIT,
    source='whatever can be kept is kept. Y.-H. Chen et al., Eyeriss, ISCA 2016: an access of 16 '
    'bits to the memory beside a unit, the buffer and the memory outside costs 1, 6 and 200 '
    'operations; one operation is 0.85 pJ (16 bits at 45 nm)',
)
MEMORIES: dict[str, Memory] = {model.name: model for model in (LEMAIRE, HOROWITZ, STEP, EYERISS)}


def get_memory(memory: bool | str | Memory | None) -> Memory | None:
    """A memory model by name, or as it is; True is ``'lemaire2022'``, False is none.

    Raises:
        ValueError: The name is unknown.
    """
    if memory is None or isinstance(memory, bool):
        return LEMAIRE if memory else None
    if not isinstance(memory, str):
        return memory
    if memory not in MEMORIES:
        raise ValueError(f'unknown memory model {memory!r}; known are {", ".join(MEMORIES)}')
    return MEMORIES[memory]
