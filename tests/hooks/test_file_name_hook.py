"""Samples that cannot be read, through mmengine's own Runner."""

import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, TRANSFORMS
from mmengine.runner import Runner

from mmspike.hooks import UnreadableFileError


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, img, mode='tensor'):
        return dict(loss=self.scale * img.float().mean())


@DATASETS.register_module(force=True)
class Pictures(BaseDataset):
    """Pictures with label maps."""

    def load_data_list(self):
        labels = dict(reduce_zero_label=False, seg_fields=[])
        root = self.data_root
        return [
            dict(img_path=f'{root}/{i}.png', seg_map_path=f'{root}/labels_{i}.png', **labels)
            for i in range(3)
        ]


@TRANSFORMS.register_module(force=True)
class Image:
    def __call__(self, results):
        return dict(img=results['img'])


@TRANSFORMS.register_module(force=True)
class Buggy:
    def __call__(self, results):
        return results['absent']


@pytest.fixture
def pictures(tmp_path):
    image = np.random.default_rng(0).integers(0, 9, (8, 8, 3), dtype=np.uint8)
    for i in range(3):
        cv2.imwrite(str(tmp_path / f'{i}.png'), image)
        cv2.imwrite(str(tmp_path / f'labels_{i}.png'), image[..., 0])
    return tmp_path


def train(pictures, *extra, workers=0, wrapped=False):
    dataset = dict(
        type='Pictures',
        data_root=str(pictures),
        pipeline=[
            dict(type='mmseg.LoadImageFromFile'),
            dict(type='mmseg.LoadAnnotations'),
            *extra,
            dict(type='Image'),
        ],
    )
    if wrapped:
        dataset = dict(type='RepeatDataset', dataset=dataset, times=2)
    Runner(
        Toy(),
        str(pictures / 'work'),
        train_dataloader=dict(
            dataset=dataset,
            batch_size=1,
            num_workers=workers,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        default_hooks=dict(
            checkpoint=None, logger=None, file_name=dict(type='mmspike.FileNameHook')
        ),
        default_scope='mmengine',
        experiment_name=f'{pictures.name}{len(extra)}',
    ).train()


@pytest.mark.slow
@pytest.mark.parametrize('name', ['1.png', 'labels_1.png'])
@pytest.mark.parametrize('content', [b'', b'<html>', 'half', None], ids=str)
@pytest.mark.parametrize('wrapped', [False, True], ids=['plain', 'wrapped'])
def test_the_file_is_named(pictures, name, content, wrapped):
    path = pictures / name
    if content is None:
        path.unlink()
    else:
        half = path.read_bytes()[: path.stat().st_size // 2]
        path.write_bytes(half if content == 'half' else content)
    with pytest.raises(UnreadableFileError, match=re.escape(str(path))) as error:
        train(pictures, wrapped=wrapped)
    assert '\n' not in str(error.value)


def test_a_worker_names_it_last(pictures):
    (pictures / '1.png').write_bytes(b'')
    with pytest.raises(UnreadableFileError) as error:
        train(pictures, workers=1)
    assert str(pictures / '1.png') in str(error.value).strip().splitlines()[-1]


@pytest.mark.slow
def test_other_errors_stay_what_they_are_with_a_note(pictures):
    with pytest.raises(KeyError, match='absent') as error:
        train(pictures, dict(type='Buggy'))
    assert str(pictures / '0.png') in error.value.__notes__[0]


@pytest.mark.slow
def test_whole_files_are_read_as_before(pictures):
    train(pictures)
