import pytest
import torch

from mmspike.converters import convert_file, convert_toy
from mmspike.files import read_checkpoint

WEIGHTS = {
    'module.toy.body.weight': torch.eye(2),
    'module.toy.body.bias': torch.ones(2),
    'module.toy.last.weight': torch.zeros(3, 2),
    'module.toy.last.bias': torch.arange(3.0),
}


def test_every_key_has_its_name(tmp_path):
    torch.save(dict(model=WEIGHTS), tmp_path / 'published.pth')
    done = convert_file(tmp_path / 'published.pth', tmp_path / 'ours.pth')
    assert (done.missing, done.unexpected) == ([], [])
    ours = read_checkpoint(tmp_path / 'ours.pth')
    assert ours['meta']['mmspike']['arch'] == 'toy'
    assert torch.equal(ours['state_dict']['head.fc.bias'], torch.arange(3.0))


def test_another_model_is_named():
    with pytest.raises(ValueError, match='expected a toy classifier, but this looks like'):
        convert_toy({'layer.weight': torch.ones(1)})
