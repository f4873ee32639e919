"""The program of docs/deploy.md, compiled and run."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from mmspike.deploy import load
from support.paths import ROOT


def compiled(folder: Path) -> Path:
    openvino = pytest.importorskip('openvino')
    home = Path(openvino.__path__[0])
    (source,) = re.findall(
        r'^```cpp\n(.*?)^```', (ROOT / 'docs/deploy.md').read_text(), flags=re.DOTALL | re.MULTILINE
    )
    (folder / 'classify.cpp').write_text(source)
    library = next((home / 'libs').glob('libopenvino.so.*'))
    command = ['c++', '-std=c++17', '-I', home / 'include', folder / 'classify.cpp', library]
    command += [f'-Wl,-rpath,{home / "libs"}', '-o', folder / 'classify']
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder / 'classify'


@pytest.mark.slow
def test_the_program_of_the_docs_answers_as_python_does(tmp_path, exported_int8):
    program = compiled(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    (tmp_path / 'images.rgb').write_bytes(images.tobytes())
    done = subprocess.run(
        [program, exported_int8.file, tmp_path / 'images.rgb'],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    deployed = load(exported_int8.file, 'openvino')
    prepared = deployed.model.data_preprocessor(
        dict(inputs=[torch.from_numpy(one).permute(2, 0, 1) for one in images]), False
    )
    raw = deployed.model.backbone(prepared['inputs']).raw
    assert done.stdout.split() == [str(label) for label in raw.argmax(1).tolist()]
    assert len(set(done.stdout.split())) > 1  # it does not answer the same to everything
