"""Real recorded digits with their units, and a vocoder trained on them for a few seconds."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from espnet_sld.corpus.audio import utterances
from espnet_sld.corpus.data_dir import DataDir
from espnet_sld.files import write_table
from espnet_sld.units.frontends import build_frontend
from espnet_sld.units.kmeans import FitOptions, KMeans
from espnet_sld.units.kmeans_fit import fit
from espnet_sld.units.unit_text import deduplicate, ids_to_text
from espnet_sld.vocoder.mel import MelConf
from espnet_sld.vocoder.saved import UnitVocoder
from espnet_sld.vocoder.timing import timing_of
from espnet_sld.vocoder.train import TrainOptions, train_vocoder

CONF = MelConf()
OPTIONS = TrainOptions(steps=60, batch=6, frames=48, width=48, learning_rate=5e-3, save_every=25)


@dataclass
class World:
    """`data`: 32 training recordings of two speakers; `held_out`: 4 others, with units of both in `units`."""

    folder: Path
    kmeans: KMeans
    data: Path
    held_out: Path
    units: Path
    joined: Path
    vocoder: Path
    conf: MelConf = CONF
    options: TrainOptions = OPTIONS


@pytest.fixture(scope="session")
def world(fsdd_dir, tmp_path_factory) -> World:
    folder = tmp_path_factory.mktemp("vocoder")
    sets = {"data": range(10, 18), "held_out": range(1)}
    front_end, ids, frames = build_frontend("mfcc", high_freq=4000.0, normalisation="none"), {}, {}
    for name, indices in sets.items():
        wav = {
            f"{speaker}-{digit}-{index:03d}": str(fsdd_dir / "recordings" / f"{digit}_{speaker}_{index}.wav")
            for speaker in ("george", "theo")
            for digit in (0, 7)
            for index in indices
        }
        data = DataDir(wav, {utt: utt.split("-")[0] for utt in wav}, dict.fromkeys(wav, "digit"))
        data.write(folder / name)
        frames |= {utt: front_end.extract([wave])[0] for utt, wave in utterances(data)}
    training = np.concatenate([found for utt, found in frames.items() if not utt.endswith("000")])
    kmeans = fit(training, FitOptions(40))
    kmeans.info["frontend"] = front_end.describe()
    kmeans.save(folder / "kmeans")
    ids = {utt: kmeans.assign(found) for utt, found in frames.items()}
    write_table(folder / "text.ts", {utt: ids_to_text(found) for utt, found in ids.items()})
    write_table(folder / "text.rm", {utt: ids_to_text(deduplicate(found)[0]) for utt, found in ids.items()})
    train_vocoder(
        folder / "data", folder / "text.ts", folder / "vocoder", 40, timing_of(kmeans), CONF, OPTIONS
    )
    return World(
        folder, kmeans, folder / "data", folder / "held_out", folder / "text.ts", folder / "text.rm",
        folder / "vocoder",
    )  # fmt: skip


@pytest.fixture(scope="session")
def trained(world) -> UnitVocoder:
    return UnitVocoder.load(world.vocoder)


@pytest.fixture(scope="session")
def untrained(trained) -> UnitVocoder:
    """The same model before it has seen anything but the mean spectrum."""
    torch.manual_seed(0)
    result = UnitVocoder(
        trained.num_units, trained.timing, trained.conf, trained.speakers, width=trained.width
    )
    result.mel_of.mean.copy_(trained.mel_of.mean)
    result.mel_of.scale.copy_(trained.mel_of.scale)
    return result
