"""The segmentor's parts against the reference's numbers."""

from support.reference_cases import compare_dense


def test_outputs_and_gradients_equal_the_reference():
    for row in compare_dense('sdtv3_seg_fpn'):
        assert row.relative < 1e-5, row
