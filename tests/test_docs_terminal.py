"""The harness of the documentation notices what does not work."""

import pytest

from support.docs_terminal import Terminal, blocks, make_clone, script

CONFIG = (
    'configs/classification/metaspikformer/metaspikformer-digits-sfa-t1d4_1xb32-coslr-15e_digits.py'
)


@pytest.fixture(scope='module')
def clone(tmp_path_factory):
    return make_clone(tmp_path_factory.mktemp('clone'))


@pytest.fixture
def read(clone, tmp_path):
    """Follow a page; return the (mode, command) that were asked for."""

    def run(text):
        page = tmp_path / 'page.md'
        page.write_text(text)
        terminal = Terminal(clone, tmp_path)
        terminal.run(script(page, tmp_path))
        return terminal.asked

    return run


def shell(text, reason=None):
    mark = f'<!-- not run: {reason} -->\n\n' if reason else ''
    return f'{mark}```bash\n{text}\n```\n\n'


def test_blocks_and_their_reasons(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        shell('a') + shell('b', 'needs a GPU') + '```python\n# own/file.py\nc = 1\n```\n'
    )
    found = blocks(page)
    assert [(one.language, one.reason) for one in found] == [
        ('bash', None),
        ('bash', 'needs a GPU'),
        ('python', None),
    ]
    assert found[2].file == 'own/file.py'
    assert page.read_text().splitlines()[found[1].line - 1] == 'b'


def test_one_shell_for_a_page(read, clone):
    asked = read(
        shell('NAME=some')
        + '```python\n# own/saved.py\n```\n'
        + shell('test -f own/saved.py; mkdir -p made/$NAME')
        + '```python\nopen("made/some/file", "w").close()\n```\n'
        + shell('ls made/some/file')
    )
    assert [mode for mode, _ in asked] == ['run']
    assert (clone / 'made/some/file').exists()


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (shell('python tools/train.py no_such_config.py'), 'there is no config file'),
        (shell('python tools/no_such_tool.py'), 'No such file'),
        (shell('cp no_such_file here'), 'no_such_file'),
        ('```python\nimport no_such_module\n```\n', 'no_such_module'),
        (shell(f'python tools/train.py {CONFIG} --no-such-option', 'long'), 'unrecognized'),
        (shell('tools/dist_train.sh no_such_config.py 8', 'GPUs'), 'there is no config file'),
        (shell(f'tools/dist_train.sh {CONFIG} 8 --no-such', 'GPUs'), 'unrecognized'),
        (shell('GPUS=2 tools/slurm_train.sh A B no_such.py', 'Slurm'), 'there is no config file'),
        (shell('make no_such_target', 'long'), 'no_such_target'),
        (shell("make demo ARGS='--no-such'", 'long'), 'unrecognized'),
        (shell('pip install onedl-mmengine==0.0.1', 'installs'), 'onedl-mmengine==0.0.1'),
        ('See `python benchmarks/no_such_benchmark.py`.\n', 'No such file'),
    ],
)
def test_what_does_not_work_is_noticed(read, text, message):
    with pytest.raises(AssertionError, match=message):
        read(text)
