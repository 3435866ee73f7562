"""Fixtures shared by all tests: where the repository and the real recordings are."""

import os
import warnings
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return REPO


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real recordings: $ESPNET_SLD_TEST_DATA, else ../shared/data; skipped loudly where neither is."""
    candidates = [os.environ.get("ESPNET_SLD_TEST_DATA"), REPO.parent / "shared" / "data"]
    for candidate in candidates:
        if candidate and Path(candidate).is_dir():
            return Path(candidate)
    warnings.warn(
        "NO REAL RECORDINGS: set ESPNET_SLD_TEST_DATA; tests on real audio are skipped", stacklevel=1
    )
    pytest.skip("set ESPNET_SLD_TEST_DATA to a folder with fsdd/recordings and LibriSpeech")


@pytest.fixture(scope="session")
def fsdd_dir(real_data: Path) -> Path:
    directory = real_data / "fsdd"
    if not directory.is_dir():
        pytest.skip(f"no {directory}")
    return directory


@pytest.fixture(scope="session")
def librispeech_dir(real_data: Path) -> Path:
    directory = real_data / "LibriSpeech"
    if not directory.is_dir():
        pytest.skip(f"no {directory}")
    return directory
