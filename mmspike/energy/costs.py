"""The cost of one operation."""

from dataclasses import dataclass, fields

from mmspike.neurons.base import check_number


@dataclass(frozen=True)
class CostTable:
    """Energy of arithmetic in one technology, in picojoules (pJ).

    Reading and writing memory is not in it.

    Attributes:
        name: Name of the table.
        mac_pj: pJ of one multiplication with its addition (MAC).
        ac_pj: pJ of one addition (AC).
        source: Where the numbers are from.
        shift_pj: pJ of one shift, that is a multiplication by a power of two, of encodings whose
            slots have weights. None takes that of an addition.

    Raises:
        TypeError, ValueError: A cost is no positive finite number.
    """

    name: str
    mac_pj: float
    ac_pj: float
    source: str = ''
    shift_pj: float | None = None

    def __post_init__(self) -> None:
        check_number('mac_pj', self.mac_pj, above=0)
        check_number('ac_pj', self.ac_pj, above=0)
        if self.shift_pj is not None:
            check_number('shift_pj', self.shift_pj, above=0)


COSTS = {
    table.name: table
    for table in (
        CostTable(
            '45nm',
            mac_pj=4.6,
            ac_pj=0.9,
            source='float32 at 45 nm and 0.9 V: 3.7 pJ per multiplication, 0.9 pJ per addition; a '
            'shift adds to the exponent, 0.03 pJ per integer addition of 8 bits. '
            "M. Horowitz, Computing's energy problem (and what we can do about it), ISSCC 2014",
            shift_pj=0.03,
        ),
    )
}


def get_costs(costs: str | dict | CostTable = '45nm') -> CostTable:
    """A table by name, from a dict of its attributes, or as it is.

    Raises:
        ValueError: The name is unknown, or a key is missing or unknown.
        TypeError: It is something else, or a cost is no number.
    """
    if isinstance(costs, CostTable):
        return costs
    if isinstance(costs, str):
        if costs not in COSTS:
            raise ValueError(
                f'unknown costs {costs!r}; known are {", ".join(COSTS)}, or give a dict'
            )
        return COSTS[costs]
    if not isinstance(costs, dict):
        raise TypeError(f'costs must be a name, a dict or a CostTable, got {costs!r}')
    known = [field.name for field in fields(CostTable)]
    unknown = sorted(set(costs) - set(known))
    missing = sorted({'mac_pj', 'ac_pj'} - set(costs))
    if unknown or missing:
        raise ValueError(
            f'costs take the keys {known}; unknown: {unknown or "none"}, '
            f'missing: {missing or "none"}'
        )
    return CostTable(**dict(dict(name='custom'), **costs))
