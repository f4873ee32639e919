"""What the metafiles list, and what is said of it."""

import re
import shlex
from pathlib import Path

import pytest

from mmspike import metafiles
from mmspike.converters.families import CONVERTERS
from mmspike.metafiles import WeightsFile, models, weights_at, weights_files, weights_named
from support.paths import ROOT


def test_files_of_weights_are_listed_completely():
    files = weights_files()
    for one in files:
        assert one.config is None or one.config in models(), one
        assert one.converter is None or one.converter in CONVERTERS, one
        assert one.target is None or re.fullmatch(r'checkpoints/[\w.-]+\.pth', one.target), one
        assert one.url is None or one.page, one
        if one.command:
            assert one.target
        elif one.converter:
            assert one.tensors
        if one.converter and one.options:
            assert set(one.options) <= set(CONVERTERS[one.converter].options), one
    for name in ('content', 'file', 'target'):
        values = [getattr(one, name) for one in files if not one.command and getattr(one, name)]
        assert len(set(values)) == len(values), name


def test_every_file_that_a_config_expects_is_listed():
    wanted = set()
    for path in (ROOT / 'configs').rglob('*.py'):
        wanted |= set(re.findall(r'checkpoints/[\w.-]+\.pth', path.read_text()))
    assert wanted
    assert wanted <= {one.target for one in weights_files()}


def test_a_file_is_found_by_its_target_and_by_its_published_name():
    file = weights_named('downloads/V3_5.1M_1x4.pth')
    assert file.content == 'SDT v3, 5.1M'
    assert weights_at(f'elsewhere/{Path(file.target).name}') == file
    assert weights_at('other.pth') is weights_at('') is weights_named('other.pth') is None


PAGE = 'https://example.org/page'


@pytest.mark.parametrize(
    ('file', 'parts'),
    [
        (dict(command='make demo'), ['`make demo` writes it']),
        (
            dict(page=PAGE, url=f'{PAGE}/a.pth', file='a.pth'),
            [
                f'download it from {PAGE}/a.pth, then convert it: `python ',
                'convert.py a.pth b.pth`',
            ],
        ),
        (
            dict(page=PAGE, options=dict(masking_ratio=0.75)),
            [f'from {PAGE}, ', ' PUBLISHED b.pth --masking-ratio=0.75`'],
        ),
        ({}, ['published no file; take one of your own', 'PUBLISHED b.pth`']),
    ],
    ids=lambda value: ' '.join(value),
)
def test_how_to_get_a_file(file, parts):
    said = WeightsFile(content='x', **file).how_to_get('b.pth')
    for part in parts:
        assert part in said


def test_the_command_names_a_tool_that_is_there(monkeypatch, tmp_path):
    """From a clone by a short path, from elsewhere by a full one."""
    for folder, short in ((ROOT, True), (tmp_path, False)):
        monkeypatch.chdir(folder)
        said = WeightsFile(content='x').how_to_get('b.pth')
        tool = Path(shlex.split(re.search('`(.+)`', said)[1])[1])
        assert tool.is_file()
        assert tool.is_absolute() is not short


def test_nothing_is_found_where_the_configs_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(metafiles, '_PACKAGE', tmp_path / 'mmspike')
    with pytest.raises(FileNotFoundError, match='pip install --force-reinstall --no-deps mmspike'):
        metafiles.home()
