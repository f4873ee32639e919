"""The segmentor's parts against the reference's numbers."""

import pytest

from support.parity import agrees, compare
from support.reference_cases import cases


@pytest.mark.parametrize('case', cases('sdtv3_seg'))
def test_outputs_and_gradients_equal_the_reference(case):
    assert [row for row in compare(case) if not agrees(case, row)] == []
