"""The detector's parts against the reference's numbers."""

import pytest
import torch

from support.parity import agrees, compare
from support.reference_cases import Case, cases
from support.reference_sdtv3 import Sdtv3Detector


@pytest.mark.parametrize('case', cases('sdtv3_det'))
def test_outputs_and_gradients_equal_the_reference(case):
    """In both behaviours of the reference's quantisers; ``eval_D=1`` repeats its evaluation."""
    assert [row for row in compare(case) if not agrees(case, row)] == []


def test_without_the_named_option_the_neck_fires_in_evaluation_as_in_training():
    trained, evaluated = Case.load('sdtv3_det_trainq'), Case.load('sdtv3_det_evalq')
    model = Sdtv3Detector(trained).eval()
    with torch.no_grad():
        levels = model.neck(model.backbone(trained.input()))
    expected, cut = trained.expected('neck_0')
    torch.testing.assert_close(levels[0][None].numpy()[cut], expected, rtol=1e-5, atol=1e-5)
    assert abs(expected - evaluated.expected('neck_0')[0]).max() > 1
