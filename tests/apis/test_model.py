import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS

from mmspike.apis.model import build_model


@pytest.fixture
def cfg():
    class Line(BaseModel):
        def __init__(self, size=2, data_preprocessor=None):
            super().__init__(data_preprocessor)
            self.fc = torch.nn.Linear(size, 1)

        def forward(self, inputs):
            return self.fc(inputs)

    MODELS.register_module(module=Line)
    yield Config(dict(model=dict(type='Line')))
    MODELS._module_dict.pop('Line')


def test_the_model_has_the_weights_and_is_in_evaluation_mode(cfg, tmp_path):
    first = build_model(cfg)
    assert not first.training
    path = tmp_path / 'line.pth'
    torch.save(dict(state_dict=first.state_dict()), path)
    for checkpoint in (path, str(path)):
        torch.testing.assert_close(build_model(cfg, checkpoint).fc.weight, first.fc.weight)


def test_weights_of_another_shape_are_refused(cfg, tmp_path):
    torch.save(build_model(cfg).state_dict(), tmp_path / 'line.pth')
    cfg.model.size = 3
    with pytest.raises(ValueError, match=r'does not fit the config.*fc\.weight'):
        build_model(cfg, tmp_path / 'line.pth')


def test_the_preprocessor_of_the_model_wins_over_the_one_beside_it(cfg):
    cfg.data_preprocessor = dict(type='ImgDataPreprocessor', pad_value=7)
    assert build_model(cfg).data_preprocessor.pad_value == 7
    cfg.model.data_preprocessor = dict(type='ImgDataPreprocessor', pad_value=5)
    assert build_model(cfg).data_preprocessor.pad_value == 5
    assert 'data_preprocessor' in cfg.model
