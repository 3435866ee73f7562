"""A small data directory with real audio files, shared by the corpus tests."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from espnet_sld.corpus.data_dir import DataDir


@pytest.fixture
def wavs(tmp_path: Path) -> Path:
    folder = tmp_path / "wavs"
    folder.mkdir()
    for index in range(6):
        soundfile.write(folder / f"{index}.wav", 0.1 * np.ones(1600 * (index + 1), np.float32), 16000)
    return folder


@pytest.fixture
def data(wavs: Path) -> DataDir:
    utts = [f"spk{index % 2}-utt{index}" for index in range(6)]
    return DataDir(
        wav={utt: str(wavs / f"{index}.wav") for index, utt in enumerate(utts)},
        utt2spk={utt: utt[:4] for utt in utts},
        text={utt: f"number {index}" for index, utt in enumerate(utts)},
        utt2dur={utt: 0.1 * (index + 1) for index, utt in enumerate(utts)},
    )
