from types import SimpleNamespace

import pytest
from mmengine.model import BaseModel
from mmpretrain.models import ClsDataPreprocessor
from torch import nn

from mmspike.hooks import ClassCheckHook


class Head(nn.Module):
    def __init__(self, num_classes, **options):
        super().__init__()
        self.num_classes = num_classes
        for name, value in options.items():
            setattr(self, name, value)


class Model(BaseModel):
    def __init__(self, head, **others):
        super().__init__(others.pop('data_preprocessor', None))
        self.head = head
        for name, module in others.items():
            setattr(self, name, module)

    def forward(self, *args, **kwargs):
        raise NotImplementedError


def check(model):
    dataset = SimpleNamespace(metainfo=dict(classes=('rose', 'tulip', 'daisy')))
    loader = SimpleNamespace(dataset=dataset)
    ClassCheckHook().before_test(SimpleNamespace(model=model, test_dataloader=loader))


def test_heads_have_the_classes_of_the_data():
    check(Model(Head(3)))
    with pytest.raises(ValueError, match=r'model\.head\.num_classes is 4, but .* has 3 classes'):
        check(Model(Head(4)))
    with pytest.raises(ValueError, match=r'model\.other\.num_classes is 2'):
        check(Model(Head(3), other=Head(2)))


def test_numbers_that_count_something_else_are_left_alone():
    """The dataset bases of mmpretrain say 1000; STDC's auxiliary head tells edges from the rest."""
    check(Model(Head(3), data_preprocessor=ClsDataPreprocessor(num_classes=1000)))
    check(Model(Head(3), edges=Head(2, boundary_threshold=0.1)))
