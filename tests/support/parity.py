"""Runs our models on the reference cases and measures how far they are from the reference."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from support.reference_cases import Case, Difference, normal
from support.reference_events import Sdtv3EventClassifier
from support.reference_large import Sdtv3LargeClassifier
from support.reference_model import ReferenceModel
from support.reference_mst import MstClassifier, SpikingMst
from support.reference_sdt import SDTClassifier
from support.reference_sdtv2 import SDTV2Classifier, SDTV2Detector, SDTV2Segmentor
from support.reference_sdtv3 import Sdtv3Classifier, Sdtv3Detector, Sdtv3Segmentor
from support.reference_smae import SmaeReference

# Beginning of the cases' names -> the model that runs them. The first that fits counts.
FAMILIES: dict[str, type[ReferenceModel]] = {
    'sdtv3_base': Sdtv3Classifier,
    'sdtv3_det': Sdtv3Detector,
    'sdtv3_seg': Sdtv3Segmentor,
    'sdtv3_hardvs': Sdtv3EventClassifier,
    'sdtv3_spikformer': Sdtv3LargeClassifier,
    'sdtv3_spikmae': SmaeReference,
    'meta_spikeformer_v2_det': SDTV2Detector,
    'meta_spikeformer_v2_seg': SDTV2Segmentor,
    'meta_spikeformer_v2': SDTV2Classifier,
    'sdt_v1': SDTClassifier,
    'mst_relu': MstClassifier,
    'mst_qcfs': MstClassifier,
    'mst_snn': SpikingMst,
}


def compare(name: str) -> list[Difference]:
    """Differences of all quantities of a case: outputs, running statistics, gradients."""
    ours, theirs = measure(name), Case.load(name).quantities()
    assert ours.keys() == theirs.keys()
    return [Difference.of(quantity, ours[quantity], theirs[quantity]) for quantity in theirs]


def agrees(name: str, row: Difference) -> bool:
    """Whether a difference on a case is no more than rounding."""
    return family_of(name).agrees(name, row)


def family_of(name: str) -> type[ReferenceModel]:
    """The model that runs a case."""
    return next(model for family, model in FAMILIES.items() if name.startswith(family))


@cache
def measure(name: str) -> dict[str, np.ndarray]:
    """The quantities of a case (see :meth:`Case.quantities`) as our model gives them."""
    case = Case.load(name)
    model = family_of(name)(case)
    inputs = case.inputs()
    inputs[0].requires_grad_('backward' in case.meta)
    with torch.set_grad_enabled('backward' in case.meta):
        outputs = model(*inputs)
    assert set(outputs) == set(case.meta['outputs'])
    quantities = {}
    for output, value in outputs.items():
        _, cut = case.expected(output)
        # The reference's detectors keep an axis for their single time step.
        value = value.detach().view(case.meta['outputs'][output]['shape'])
        quantities.update(case.spans(output, value.numpy()[cut]))
    buffers = dict(model.named_buffers())
    for key in case.numbers:
        if key.startswith('bn_after/'):
            new = model.conversion.renamed[key.removeprefix('bn_after/')]
            quantities[key] = buffers[new].numpy()
    if 'backward' in case.meta:
        quantities.update(_gradients(case, model, outputs, inputs[0]))
    return quantities


def _gradients(
    case: Case, model: ReferenceModel, outputs: dict[str, Tensor], x: Tensor
) -> dict[str, np.ndarray]:
    """Gradients of input and parameters, cut as the reference's."""
    backward = case.meta['backward']
    output = outputs[backward['output']]
    shape = case.meta['outputs'][backward['output']]['shape']
    # A scalar output is the loss itself.
    cotangent = normal(backward['cotangent_seed'], shape) if shape else torch.ones(())
    (output * cotangent.view_as(output)).sum().backward()

    _, step = case.input_gradient()
    quantities = {'gradient of the input': x.grad[..., ::step, ::step].numpy()}
    parameters = dict(model.named_parameters())
    gradients = {old: parameters[new].grad for old, new in model.conversion.renamed.items()
                 if new in parameters and parameters[new].grad is not None}  # fmt: skip
    for name, stored in case.parameter_gradients().items():
        quantities[f'gradient of {name}'] = gradients[name].flatten()[: stored.size].numpy()
    names = case.numbers['grad_all_names'].tolist()
    assert set(names) == set(gradients)
    sums = [gradients[name].double().abs().sum().item() for name in names]
    quantities['sums over all gradients'] = np.array(sums)
    return quantities
