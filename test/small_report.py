"""A recipe with finished experiments in no time: real recordings, made-up hypotheses, the real layout."""

import json
from pathlib import Path

import numpy as np
import soundfile
import yaml

from espnet_sld.files import write_table
from espnet_sld.scoring.result import score_set
from espnet_sld.units.unit_text import ids_to_text

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SETS = ("dev", "test")
STRINGS = 24  # utterances of a set, two recordings each
UNITS = 20
GIT = "c" * 40
# name of the experiment → share of words misheard, options of the criterion
RUNS = {
    "asr_sld_none_seed1": (0.40, {"objective": "none"}),
    "asr_sld_none_seed2": (0.35, {"objective": "none"}),
    "asr_sld_sld_seed1": (0.15, {"objective": "sld", "alpha": 0.008}),
    "asr_sld_sld_seed2": (0.20, {"objective": "sld", "alpha": 0.008}),
    "asr_sld_sld_alpha0.08_seed1": (0.25, {"objective": "sld", "alpha": 0.08}),
    "asr_sld_sld_alpha0.8_seed1": (0.55, {"objective": "sld", "alpha": 0.8}),
}


def make_recipe(folder: Path, fsdd_dir: Path, runs: tuple[str, ...] = tuple(RUNS)) -> Path:
    """`egs/digits/asr_sld` in `folder`: data of two sets and a scored experiment for each of `runs`."""
    recipe = folder / "egs" / "digits" / "asr_sld"
    recordings = sorted((fsdd_dir / "recordings").glob("*.wav"))
    for place, name in enumerate(SETS):
        _make_data(recipe, name, recordings[place * 12 :: 61][: 2 * STRINGS])
    _make_statistics(recipe)
    for run in runs:
        share, conf = RUNS[run]
        _make_run(recipe, run, share, conf)
    return recipe


def _make_data(recipe: Path, name: str, recordings: list[Path]) -> None:
    """Strings of two recorded digits as one wav file each; paths relative to the recipe, as recipes write."""
    generator = np.random.default_rng(len(name))
    audio = recipe / "data" / "wavs" / name
    audio.mkdir(parents=True)
    wavs, texts, speakers, seconds, units, plain = {}, {}, {}, {}, {}, {}
    for number in range(STRINGS):
        pair = [recordings[number], recordings[-1 - number]]
        parts = [soundfile.read(path) for path in pair]
        samples, rate = np.concatenate([part for part, _ in parts]), parts[0][1]
        speaker = pair[0].stem.split("_")[1]
        utterance = f"{speaker}-{name}-{number:03d}"
        path = audio / f"{utterance}.wav"
        soundfile.write(path, samples, rate)
        wavs[utterance] = str(path.relative_to(recipe))
        texts[utterance] = " ".join(DIGITS[int(path.stem.split("_")[0])] for path in pair)
        speakers[utterance] = speaker
        seconds[utterance] = f"{len(samples) / rate:.5f}"
        ids = generator.integers(0, UNITS, 30 + number)
        units[utterance] = ids_to_text(ids)
        plain[utterance] = texts[utterance]
    raw = recipe / "dump" / "raw"
    for target in (raw / "org" / name, raw / name):
        for file, table in (("text", texts), ("utt2spk", speakers), ("utt2dur", seconds)):
            write_table(target / file, table)
    write_table(raw / "org" / name / "wav.scp", wavs)
    write_table(raw / name / "text.ts.en", plain)
    write_table(raw / name / "text.rm.mfcc_km20", units)


def _make_statistics(recipe: Path) -> None:
    stats = recipe / "exp" / "stats" / "train"
    stats.mkdir(parents=True)
    (stats / "length_stats.json").write_text(
        '{"utterances": 24, "units": 996, "seconds": 30.0, "speech": {"total": 700, "min": 20, "max": 40, '
        '"mean": 29.2}, "text": {"total": 48, "min": 2, "max": 2, "mean": 2.0}, "speech_tokenizer": '
        '{"type": "unigram"}, "speech_tokens_per_second": 23.3, "cut_utterances": 0, "unknown_units": 0, '
        '"unknown_text": 0}'
    )
    write_table(stats / "speech_shape", {f"u{n:02d}": str(20 + n % 12) for n in range(24)})


def _make_run(recipe: Path, name: str, share: float, conf: dict) -> None:
    run = recipe / "exp" / name
    run.mkdir(parents=True)
    config = {
        "config": "conf/train.yaml",
        "seed": int(name[-1]),
        "output_dir": f"exp/{name}",
        "max_epoch": 4,
        "criterion_conf": conf,
        "optim_conf": {"lr": 0.002},
        "speech_token_type": "unigram",
        "num_clusters": UNITS,
        "best_model_criterion": [["valid", "ce_text", "min"]],
        "train_data_path_and_name_and_type": [["dump/raw/dev/text.rm.mfcc_km20", "speech", "text"]],
        "valid_data_path_and_name_and_type": [
            ["dump/raw/dev/text.rm.mfcc_km20", "speech", "text"],
            ["dump/raw/dev/text.ts.en", "text", "text"],
        ],
        "train_shape_file": ["exp/stats/train/sequence_shape"],
    }
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (recipe / "conf").mkdir(exist_ok=True)
    (recipe / "conf" / "train.yaml").write_text("max_epoch: 4\noptim_conf:\n  lr: 0.002\n")
    (run / "run.sh").write_text(f"#!/usr/bin/env bash\ncd {recipe}\n./run.sh --asr_tag '{name}'\n")
    given = [f"criterion_conf={key}={value}" for key, value in conf.items()] + [f"seed={name[-1]}"]
    stamp = {"host": "node1", "seconds": 12.5, "options": {"given": given}}
    (run / "train.done.json").write_text(json.dumps(stamp))
    (run / "train.json").write_text('{"command": ["python3", "-m", "espnet_sld.bin.train", "--seed", "1"]}')
    _write_events(run / "tensorboard", share)
    for part in SETS:
        out = run / "decode_greedy" / part
        out.mkdir(parents=True)
        reference = recipe / "dump" / "raw" / part / "text.ts.en"
        write_table(out / "text", _misheard(reference, share, [*name.encode(), *part.encode()]))
        meta = {"objective": conf["objective"], "git": GIT, "seed": int(name[-1]), "n_params": 1234,
                "model": "llama", "checkpoint": "valid.ce_text.ave.pth", "audio_seconds": 30.0,
                "decode_seconds": 0.3, "loops": 0, "truncated": 0}  # fmt: skip
        score_set(out / "text", reference, out, meta, utt2spk=reference.parent / "utt2spk")


def _misheard(reference: Path, share: float, seed: list[int]) -> dict[str, str]:
    """Hypotheses with all three kinds of error."""
    generator = np.random.default_rng(seed)
    heard = {}
    for line in reference.read_text().splitlines():
        utterance, *words = line.split()
        result = []
        for word in words:
            if generator.random() >= share:
                result.append(word)
                continue
            kind = generator.integers(3)
            if kind == 0:
                result.append(DIGITS[(DIGITS.index(word) + 1) % 10])
            elif kind == 1:
                result += [word, "oh"]
        heard[utterance] = " ".join(result)
    return heard


def _write_events(folder: Path, level: float, steps: int = 50, epochs: int = 8) -> None:
    """Event files as training writes them: training every 10 steps, development after every epoch."""
    from torch.utils.tensorboard import SummaryWriter

    for phase, every in (("train", 10), ("valid", steps)):
        with SummaryWriter(str(folder / phase)) as writer:
            for step in range(every, steps * epochs + 1, every):
                value = level + 2.0 / (1.0 + step / steps)
                for part, factor in (("loss", 3.0), ("ce_text", 1.0), ("ce_speech", 2.0), ("acc_text", 0.2)):
                    writer.add_scalar(part, factor * value, step)
                if phase == "train":
                    writer.add_scalar("lr", 1e-3 / step, step)
                    writer.add_scalar("padding", 2.5, step)
                    writer.add_scalar("tokens_per_second", 4000.0 + step, step)
