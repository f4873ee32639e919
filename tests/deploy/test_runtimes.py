"""Loaded files: choice of the runtime, threads, and errors."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from mmspike.deploy.runtimes import RUNTIMES, open_session
from support.paths import ROOT


@pytest.fixture(params=RUNTIMES)
def session(request, exported):
    return open_session(exported.file, request.param, threads=1)


def images(seed, batch=2):
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_answers_of_the_checkpoint(session, exported):
    (logits,) = session(images(0).numpy())
    expected = exported.logits(images(0)).numpy()
    assert expected.std() > 0
    assert np.allclose(logits, expected, atol=1e-5)


def test_a_second_call_gives_the_same_and_leaves_the_first(session):
    first = session(images(0).numpy())[0]
    kept = first.copy()
    session(images(1).numpy())
    assert np.array_equal(first, kept)
    assert np.array_equal(session(images(0).numpy())[0], kept)


def test_several_threads_call_one_file(session):
    expected = [session(images(seed, 1 + seed % 3).numpy())[0] for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(
            pool.map(lambda seed: session(images(seed, 1 + seed % 3).numpy())[0], range(12))
        )
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(runtime='tensorrt'), "must be one of .*'openvino'.*got 'tensorrt'"),
        (dict(threads=0), 'threads must be at least 1, got 0'),
        (dict(threads=-2), 'threads must be at least 1, got -2'),
    ],
)
def test_bad_options(options, message, exported):
    with pytest.raises(ValueError, match=message):
        open_session(exported.file, **options)


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_a_file_that_a_runtime_cannot_read(runtime, tmp_path):
    (tmp_path / 'noise.onnx').write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match=rf'{runtime} cannot load .*noise\.onnx'):
        open_session(tmp_path / 'noise.onnx', runtime)


@pytest.mark.slow
@pytest.mark.parametrize('missing', [['openvino'], ['onnxruntime'], ['openvino', 'onnxruntime']])
def test_runtimes_that_are_not_installed(missing, exported, run_program, tmp_path):
    (tmp_path / 'load.py').write_text(f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules.update(dict.fromkeys({missing!r}))
from mmspike.deploy.extras import MissingExtraError
from mmspike.deploy.runtimes import open_session
for name in ('auto', 'openvino', 'onnxruntime'):
    try:
        print(name, type(open_session({str(exported.file)!r}, name)).__name__)
    except MissingExtraError as error:
        print(name, error)
""")
    lines = run_program(tmp_path / 'load.py').stdout.splitlines()
    found = dict(line.split(' ', 1) for line in lines if line.split(' ')[0] in ('auto', *RUNTIMES))
    for name in missing:
        assert found[name] == f"{name} is not installed: pip install 'mmspike[deploy]'"
    if len(missing) == 2:
        assert found['auto'].startswith('no runtime is installed (openvino, onnxruntime): pip')
    else:
        assert found['auto'].lower() == dict(
            openvino='onnxruntimesession', onnxruntime='openvinosession'
        )[missing[0]]  # fmt: skip


SIGNAL_AFTER_A_FILE_IS_GONE = """
import os, signal, sys, threading
from mmspike.deploy.runtimes import open_session

sessions = [open_session(sys.argv[1], sys.argv[2])]
drop = threading.Thread(target=sessions.clear)
drop.start()
drop.join()
signal.signal(signal.SIGUSR1, lambda *args: print('handled'))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.slow
@pytest.mark.parametrize('runtime', RUNTIMES)
def test_another_thread_may_drop_a_file(runtime, exported, run_python):
    done = run_python('-c', SIGNAL_AFTER_A_FILE_IS_GONE, str(exported.file), runtime)
    assert done.stdout == 'handled\n'
