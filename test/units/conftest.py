"""Real utterances and small random checkpoints for the tests of units."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def small_ssl(repo_root: Path) -> ModuleType:
    """The makers of small checkpoints, `test/small_ssl.py`."""
    spec = importlib.util.spec_from_file_location("small_ssl", repo_root / "test" / "small_ssl.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def utterances(librispeech_dir: Path) -> list[np.ndarray]:
    """The 200 shortest real utterances (1.3 to 4.8 s), shuffled, as float32 waveforms."""
    files = sorted(librispeech_dir.rglob("*.flac"))
    files = sorted(files, key=lambda path: soundfile.info(path).frames)[:200]
    order = np.random.default_rng(0).permutation(len(files))
    return [soundfile.read(files[index], dtype="float32")[0] for index in order]
