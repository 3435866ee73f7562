"""Real utterances, and units of a few, for the tests of units."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def utterances(librispeech_dir: Path) -> list[np.ndarray]:
    """The 200 shortest real utterances (1.3 to 4.8 s), shuffled, as float32 waveforms."""
    files = sorted(librispeech_dir.rglob("*.flac"))
    files = sorted(files, key=lambda path: soundfile.info(path).frames)[:200]
    order = np.random.default_rng(0).permutation(len(files))
    return [soundfile.read(files[index], dtype="float32")[0] for index in order]


@pytest.fixture(scope="session")
def stages(load_file) -> ModuleType:
    """`stages.py`: fitting, extracting, gathering."""
    return load_file(Path(__file__).with_name("stages.py"))


@pytest.fixture(scope="session")
def digits_dir(stages, fsdd_dir: Path, tmp_path_factory) -> Path:
    """A data directory of 12 utterances, by `stages.make_data`."""
    return stages.make_data(fsdd_dir, tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="session")
def kmeans_dir(stages, digits_dir: Path, tmp_path_factory) -> Path:
    """Their centroids."""
    out = tmp_path_factory.mktemp("exp") / "kmeans" / f"mfcc_{stages.K}clusters"
    assert stages.fit(digits_dir, out) == 0
    return out
