"""Runs the pages of the documentation as a reader does: block by block, in a clean clone.

All shell blocks of a page go through one bash, so that variables, `cd`, `cp` and exit statuses mean
what they mean to a reader. `python`, `make`, `pip`, `git` and `srun` are stand-ins there: they ask
the test what to do. The test runs tools in its own process, because importing the hosts takes long,
and makes them small (:func:`shorten`). A block below ``<!-- not run: REASON -->`` is checked only:
the tools parse its arguments, and its configs load.
"""

import argparse
import contextlib
import io
import json
import os
import re
import runpy
import shlex
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from mmengine.utils import ManagerMixin
from packaging.requirements import Requirement

from mmspike.apis.config import load_config
from support.paths import ROOT

STAND_INS = ('python', 'make', 'pip', 'git', 'srun')
STAND_IN = """#!{python} -SE
import json, os, socket, sys
name = os.path.basename(sys.argv[0])
if name == 'python' and sys.argv[1] == '-c':
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as client:
    client.connect({address!r})
    asked = dict(argv=[name, *sys.argv[1:]], cwd=os.getcwd(), mode=os.environ['DOCS_MODE'])
    client.sendall(json.dumps(asked).encode() + b'\\n')
    status, output = json.loads(client.makefile().readline())
sys.stdout.write(output)
sys.exit(status)
"""
# What a clone has, but for the tests.
PARTS = ('benchmarks', 'configs', 'docs/images', 'tools', 'Makefile')
# Data of the clone are cut: (train, val and test) samples.
SAMPLES = {'digits_bs32': (32, 8), 'event_digits': (8, 4)}
# Options whose values make a command long -> values for a test.
SHORT = {
    '--images': '4',
    '--finetune': '1',
    '--num-train': '8',
    '--num-val': '4',
    '--repetitions': '1',
}
# Tool -> its `--cfg-options`: logits of as many digits as `train.py` gets.
OPTIONS = {'store_logits.py': ['train_dataloader.dataset.indices=8']}
SIDE = 128


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, why it is not run, and the line it begins at."""

    language: str
    text: str
    reason: str | None
    line: int

    @property
    def is_fragment(self) -> bool:
        return self.text.startswith('# fragment')

    @property
    def is_config(self) -> bool:
        """A config of a host without a name: ``test_docs`` builds and trains its model."""
        return bool(re.match(r'# (mmpretrain|mmdet|mmseg)\n(?!from|import)', self.text))

    @property
    def file(self) -> str | None:
        """The name under which the page tells its reader to save the block."""
        named = re.match(r'# (\S+/\S+\.py)\n', self.text)
        return named[1] if named else None


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found, lines = [], page.read_text().splitlines()
    i = 0
    while i < len(lines):
        fence = re.match(r'```(\w*)$', lines[i])
        if fence:
            above = next((line for line in reversed(lines[:i]) if line), '')
            marked = re.fullmatch(r'<!-- not run: (.+) -->', above)
            end = lines.index('```', i + 1)
            text = ''.join(f'{line}\n' for line in lines[i + 1 : end])
            found.append(Block(fence[1], text, marked and marked[1], i + 2))
            i = end
        i += 1
    return found


def inline_commands(page: Path) -> list[str]:
    """Commands in the running text, which are checked."""
    text = re.sub(r'^```.*?^```', '', page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r'`((?:(?:python|pip) [^`\n]+)|make [\w-]+(?: [A-Z]+=[^`\n]+)?)`', text)


def script(page: Path, folder: Path) -> str:
    """The page as one bash script; Python blocks and files to save go to ``folder``."""
    lines = []
    for number, block in enumerate(blocks(page)):
        mode = 'check' if block.reason else 'run'
        lines.append(f'export DOCS_MODE={mode} # line {block.line}')
        if block.language in ('bash', 'shell', 'sh'):
            lines.append(block.text)
        elif block.language == 'python' and not (
            block.is_fragment or block.is_config or block.reason
        ):
            saved = folder / f'block_{number}.py'
            saved.write_text(block.text)
            if block.file:
                lines += [f'mkdir -p {Path(block.file).parent}', f'cp {saved} {block.file}']
            else:
                lines.append(f'python {saved}')
    lines.append('export DOCS_MODE=mention')
    return '\n'.join([*lines, *inline_commands(page)])


def make_clone(folder: Path) -> Path:
    """A copy of what git would give, without tests; its data are few."""
    listed = subprocess.run(
        ['git', 'ls-files', '-z', '--cached', '--others', '--exclude-standard', *PARTS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split('\0')):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name, (train, test) in SAMPLES.items():
        with open(folder / f'configs/_base_/datasets/{name}.py', 'a') as base:
            base.write(f"\ntrain_dataloader['dataset']['indices'] = {train}\n")
            base.write(f"val_dataloader['dataset']['indices'] = {test}\n")
            base.write(f"test_dataloader['dataset']['indices'] = {test}\n")
    return folder


class _ParsedError(Exception):
    """Carries what a tool parsed, in the place of its run."""


def parse(tool: Path, arguments: list[str]) -> argparse.Namespace:
    """Run a tool until its arguments are parsed.

    Raises:
        SystemExit: They are not acceptable.
    """
    original = argparse.ArgumentParser.parse_args

    def stop(self, *args: Any, **kwargs: Any) -> None:
        raise _ParsedError(original(self, *args, **kwargs))

    with (
        mock.patch.object(sys, 'argv', [str(tool), *arguments]),
        mock.patch.object(argparse.ArgumentParser, 'parse_args', stop),
    ):
        try:
            runpy.run_path(str(tool), run_name='__main__')
        except _ParsedError as parsed:
            return parsed.args[0]
    raise AssertionError(f'{tool} parses no arguments')


def _options(cfg: Any, part: str) -> list[str]:
    """``--cfg-options`` that make the images of a dataloader, if there is one, small."""
    options: list[str] = []
    if not cfg.get(f'{part}_dataloader'):
        return options
    for i, transform in enumerate(cfg[f'{part}_dataloader'].dataset.get('pipeline', [])):
        for key in ('scale', 'crop_size'):
            if isinstance(transform.get(key), tuple | list) and max(transform[key]) > SIDE:
                name = f'{part}_dataloader.dataset.pipeline.{i}.{key}'
                options.append(f'{name}=({SIDE},{SIDE})')
    return options


def _add_options(arguments: list[str], options: list[str]) -> list[str]:
    """Put them where the page has its own: argparse takes the last ``--cfg-options`` only."""
    if not options:
        return arguments
    if '--cfg-options' in arguments:
        at = arguments.index('--cfg-options') + 1
        return [*arguments[:at], *options, *arguments[at:]]
    return [*arguments, '--cfg-options', *options]


def shorten(tool: str, arguments: list[str], parsed: argparse.Namespace) -> list[str]:
    """The arguments of a run that takes seconds."""
    arguments = list(arguments)
    for i, argument in enumerate(arguments[:-1]):
        if argument in SHORT:
            arguments[i + 1] = SHORT[argument]
    if tool == 'digit_scenes.py':
        for name in ('--num-train', '--num-val'):
            if name not in arguments:
                arguments += [name, SHORT[name]]
    if tool not in ('train.py', 'test.py', 'image_demo.py'):
        return _add_options(arguments, OPTIONS.get(tool, []))
    cfg = load_config(parsed.config, parsed.cfg_options)
    options = _options(cfg, 'val' if tool == 'train.py' else 'test')
    if 'size' in cfg.model.get('data_preprocessor', {}):
        options.append(f'model.data_preprocessor.size=({SIDE},{SIDE})')
    if tool == 'image_demo.py':
        return _add_options(arguments, options)
    # Workers of a loader would live on in the process of the tests.
    parts = [part for part in (('train', 'val') if tool == 'train.py' else ('test',))
             if cfg.get(f'{part}_dataloader')]  # fmt: skip
    for part in parts:
        loader = f'{part}_dataloader'
        options += [f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
    if tool == 'train.py':
        length, unit = ('max_iters', 2) if 'max_iters' in cfg.train_cfg else ('max_epochs', 1)
        options += [
            *_options(cfg, 'train'),
            'train_dataloader.batch_size=2',
            f'train_cfg.{length}={unit}',
            f'train_cfg.val_interval={unit}',
            f'default_hooks.checkpoint.interval={unit}',
        ]
        if cfg.train_dataloader.dataset.type == 'mmspike.HandwrittenDigits':
            # By name, a config is that of the installation, and not cut.
            options += [f'{part}_dataloader.dataset.indices=8' for part in parts]
    return _add_options(arguments, options)


def name_as_whole(parsed: argparse.Namespace) -> None:
    """Leave the weights of a short training under the name that a whole one gives them."""
    cfg = load_config(parsed.config, parsed.cfg_options, parsed.work_dir)
    for length, name, short in (('max_iters', 'iter', 2), ('max_epochs', 'epoch', 1)):
        if length in cfg.train_cfg:
            target = Path(cfg.work_dir, f'{name}_{cfg.train_cfg[length]}.pth')
            if not target.exists():
                shutil.copy(Path(cfg.work_dir, f'{name}_{short}.pth'), target)


def _shared() -> Iterator[dict]:
    """Objects that mmengine keeps for the whole process: scopes, visualisers, message hubs."""
    kinds = [ManagerMixin]
    while kinds:
        kind = kinds.pop()
        kinds += kind.__subclasses__()
        if '_instance_dict' in vars(kind):
            yield kind._instance_dict


@contextlib.contextmanager
def _as_own_process(cwd: Path) -> Iterator[io.StringIO]:
    """What a process of its own would have, and would not leave behind."""
    before, threads = Path.cwd(), torch.get_num_threads()
    kept, output = [(one, one.copy()) for one in _shared()], io.StringIO()
    environment = mock.patch.dict(os.environ, TORCH_FORCE_WEIGHTS_ONLY_LOAD='1', COLUMNS='200')
    with environment, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        os.chdir(cwd)
        for one in _shared():
            one.clear()
        try:
            yield output
        finally:
            os.chdir(before)
            for one in _shared():
                one.clear()
            for one, content in kept:
                one.update(content)
            torch.set_num_threads(threads)
            torch.set_default_dtype(torch.float32)


class Terminal:
    """A bash in a clone; ``asked`` collects (mode, command) of all that it was told to run."""

    def __init__(self, clone: Path, folder: Path) -> None:
        self.clone, self.folder = clone, folder
        self.asked: list[tuple[str, str]] = []
        self._address = str(folder / 'socket')
        for place in (folder / 'bin', clone / '.venv/bin'):
            place.mkdir(parents=True, exist_ok=True)
        text = STAND_IN.format(python=sys.executable, address=self._address)
        for path in (*(folder / 'bin' / name for name in STAND_INS), clone / '.venv/bin/python'):
            path.write_text(text)
            path.chmod(0o755)

    def run(self, text: str) -> None:
        """Run a script to its end.

        Raises:
            AssertionError: A command failed; with what was printed.
        """
        env = dict(os.environ, PATH=f'{self.folder / "bin"}:{os.environ["PATH"]}')
        env.pop('PYTHON', None)
        log = self.folder / 'log'
        with socket.socket(socket.AF_UNIX) as server, open(log, 'w') as output:
            server.bind(self._address)
            server.listen()
            server.settimeout(0.1)
            process = subprocess.Popen(
                ['bash', '-euo', 'pipefail', '-c', text],
                cwd=self.clone, env=env, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                while process.poll() is None:
                    with contextlib.suppress(TimeoutError):
                        self._serve(server.accept()[0])
            finally:
                process.kill()
                process.wait()
        Path(self._address).unlink()
        last = self.asked[-1][1] if self.asked else 'the beginning'
        assert process.returncode == 0, f'after {last}\n{log.read_text()[-4000:]}'

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(None)
            asked = json.loads(client.makefile().readline())
            mode, (name, *arguments) = asked['mode'], asked['argv']
            self.asked.append((mode, shlex.join(asked['argv'])))
            with _as_own_process(asked['cwd']) as output:
                status = 0
                try:
                    getattr(self, f'_{name}')(mode, arguments)
                except SystemExit as leaving:
                    status = leaving.code or 0
                    if isinstance(status, str):
                        output.write(status)
                        status = 1
                except BaseException:  # noqa: BLE001  # whatever fails is told to the caller
                    output.write(traceback.format_exc())
                    status = 1
            client.sendall(json.dumps([status, output.getvalue()]).encode() + b'\n')

    def _python(self, mode: str, arguments: list[str]) -> None:
        if arguments[0] == '-m':
            return self._module(mode, *arguments[1:])
        tool, *arguments = arguments
        if tool.startswith('tests/'):  # a clone here has none; only running text names them
            assert mode == 'mention'
            assert (ROOT / tool).is_file(), tool
            return None
        if Path(tool).parent == self.folder:
            runpy.run_path(tool, run_name='__main__')
            return None
        parsed = parse(Path(tool).absolute(), arguments)
        config = getattr(parsed, 'config', None)
        if config and not (mode == 'mention' and config == 'CONFIG'):
            load_config(config)
        if mode != 'run':
            return None
        arguments = shorten(Path(tool).name, arguments, parsed)
        with mock.patch.object(sys, 'argv', [tool, *arguments]):
            status = None
            try:
                runpy.run_path(str(Path(tool).absolute()), run_name='__main__')
            except SystemExit as leaving:
                status = leaving.code
        if status:
            raise SystemExit(status)
        if Path(tool).name == 'train.py':
            name_as_whole(parsed)
        return None

    def _module(self, mode: str, module: str, *arguments: str) -> None:
        """`python -m`: torchrun's arguments, and those of the tool that it starts, are parsed."""
        if module == 'pytest':
            return
        assert module == 'torch.distributed.run', module
        from torch.distributed.run import parse_args

        launched = parse_args(list(arguments))
        self._python('check', [launched.training_script, *launched.training_script_args])

    def _make(self, mode: str, arguments: list[str]) -> None:
        """What make would run is checked, and not run."""
        planned = subprocess.run(
            ['/usr/bin/make', '--no-print-directory', '-n', *arguments],
            capture_output=True, text=True, check=True, cwd=self.clone,
        ).stdout  # fmt: skip
        for line in planned.splitlines():
            first, *rest = shlex.split(line)
            if first == '.venv/bin/python':
                self._python('check', rest)

    def _pip(self, mode: str, arguments: list[str]) -> None:
        """Names and versions are looked at: they have to be those of the tested set."""
        command, *arguments = arguments
        assert command in ('install', 'uninstall', 'list', 'config'), command
        pins = dict(
            line.split('==')
            for line in (ROOT / 'requirements/constraints.txt').read_text().splitlines()
            if '==' in line and not line.startswith('#')
        )
        for argument in arguments:
            if argument.startswith(('-', '.')) or command == 'config':
                continue
            wanted = Requirement(argument)
            version = str(wanted.specifier)
            if version.startswith('=='):
                assert pins[wanted.name] == version[2:], argument

    def _git(self, mode: str, arguments: list[str]) -> None:
        assert mode == 'check', arguments
        command, _, target = arguments
        assert command == 'clone', arguments
        Path(target).symlink_to('.')  # a page goes on in the clone, which is here

    def _srun(self, mode: str, arguments: list[str]) -> None:
        at = next(i for i, one in enumerate(arguments) if one.endswith('python'))
        self._python('check', [one for one in arguments[at + 1 :] if one != '-u'])
