"""Small recipes, in the real layout, with finished experiments: a CTC ablation, and models with four tasks.

Real recordings, made-up hypotheses scored by the package; event files without torch.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import yaml

from espnet_sld.files import write_json, write_table
from espnet_sld.scoring.captions import score_captions
from espnet_sld.scoring.result import score_set
from espnet_sld.scoring.translation import score_translations
from espnet_sld.units.unit_text import ids_to_text

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GERMAN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
SETS = ("dev", "test")
PAIRS = 8  # utterances of a set
UNITS = 12
PIECES = 9  # image tokens
COMMON = {
    "objective": "modality",
    "git": "c" * 40,
    "seed": 3,
    "model": "opt",
    "checkpoint": "valid.loss.ave.pth",
}
CTC_RUNS = ("ctc_seed1", "ctc_seed2", "interaed_kd_seed1", "interaed_kd_seed2")
# what is wrong in the decodings of a seed: every so many utterances one word
EVERY = {1: 2, 2: 4}


def make_ctc(folder: Path, fsdd_dir: Path, runs: tuple[str, ...] = CTC_RUNS) -> Path:
    """`egs/digits/ctc_kd`, its runs in exp/table with greedy decodings, and the declared contrasts."""
    recipe = folder / "egs" / "digits" / "ctc_kd"
    _make_data(recipe, fsdd_dir)
    table = recipe / "exp" / "table"
    for name in runs:
        row, seed = name.rsplit("_seed", 1)
        labels = {"soft_labels": "exp/table/soft_labels/train.safetensors"} if "kd" in row else {}
        parts = {"ctc": 0.25, "aed": 0.25} if labels else {"ctc": 1.0}
        config = {
            "config": "conf/train.yaml", "seed": int(seed), "input": "units", "unit_subsampling": 2,
            "speech_token_type": "unit", "num_clusters": UNITS, "token_type": "word", "specaug": "specaug",
            "interctc_layers": [2], "criterion_conf": {"row": row}, "target_vocabulary": 13,
            "criterion_weights": {"beta": 0.5, **parts}, **labels,
            "train_data_path_and_name_and_type": _paths("dev"),
            "valid_data_path_and_name_and_type": _paths("dev"), "train_shape_file": [],
        }  # fmt: skip
        run = _make_run(recipe, table / name, config)
        _write_events(run, {**dict.fromkeys(parts, 2.0), "loss": 2.0, "infeasible": 0.0}, {"ter": 20.0})
        for part in SETS:
            reference = recipe / "dump/raw" / part / "text.ts.en"
            out = run / "decode_greedy" / part
            write_table(out / "text", _misheard(reference, EVERY[int(seed)] + ("kd" in row)))
            meta = {**COMMON, "objective": row, "model": "conformer", "n_params": 777, "audio_seconds": 20.0,
                    "decode_seconds": 0.017, "decode_cpu_seconds": 0.03, "device": "cpu",
                    "too_short": 0}  # fmt: skip
            score_set(out / "text", reference, out, meta, utt2spk=reference.parent / "utt2spk")
    write_json(
        table / "soft_labels" / "train.safetensors.report.json",
        {"all": {"entropy": 1.5, "pseudo_perplexity": 4.2, "references_in_top_k": 0.9, "tokens": 99}},
    )
    difference = {"delta": -1.5, "interval95": [-2.0, -1.0], "p_is_bound": False}
    entry = {"set": "test", "first": "interaed_kd", "second": "ctc", "seeds": [1, 2], "about": "methods",
             "difference": difference, "p_holm": 0.01, "verdict": "better"}  # fmt: skip
    write_json(table / "TABLE.json", {"contrasts": [entry]})
    return recipe


def make_dmlm(folder: Path, fsdd_dir: Path, names: tuple[str, ...] = ("dmlm_a", "dmlm_b")) -> Path:
    """`egs/digits/dmlm`: recognition, translation, synthesis and captions of each experiment."""
    recipe = folder / "egs" / "digits" / "dmlm"
    _make_data(recipe, fsdd_dir)
    _make_images(recipe)
    stats = "exp/stats"
    mixture = {
        role: [
            {"name": "asr", "task": "asr", **_files("speech", "text"), **weight},
            {"name": "st", "task": "st", "language": "de", **_files("speech", "target_text"), **weight},
            {"name": "caption", "task": "caption", "image": "dump/raw/digits/image_tokens",
             "text": "data/digits/text", **weight},
            {"name": "more", "unlabelled": True, **_files("speech", "text")},
        ]
        for role, weight in (("train", {"weight": 0.5}), ("valid", {}))
    }  # fmt: skip
    for task in ("asr", "st", "caption", "more_speech", "more_text"):
        lengths = {
            "task_name": f"{task} <generate>", "utterances": PAIRS, "cut_utterances": 0, "unknown_text": 1,
            "sequence": {"min": 5, "max": 12, "mean": 8.0}, "text": {"min": 1, "max": 2, "mean": 2.0},
        }  # fmt: skip
        write_json(recipe / stats / "train" / task / "length_stats.json", lengths)
        shapes = {f"u{n}": str(5 + n + len(task)) for n in range(PAIRS)}
        write_table(recipe / stats / "train" / task / "sequence_shape", shapes)
    for place, name in enumerate(names):
        config = {
            "config": "conf/train.yaml", "seed": 3, "mixture": "exp/stats/mixture.yaml",
            "mixture_stats": stats, "mixture_tasks": ["asr <generatetext>", "st <generatetranslation_de>"],
            "num_clusters": UNITS, "text_token_type": "word", "criterion": "modality",
            "criterion_conf": {"lambda_text": 0.9 + place / 100},
            "vocabulary": {"text": 30, "speech": UNITS, "image": PIECES, "specials": ["<a>", "<b>"]},
        }  # fmt: skip
        run = _make_run(recipe, recipe / "exp" / name, config)
        (run / "mixture.yaml").write_text(yaml.safe_dump(mixture))
        parts = ("loss", "ce_text", "ce_speech", "ce_image", "kl", "acc_text", "acc_speech", "acc_image")
        _write_events(run, dict.fromkeys(parts, 1.0), {}, empty="image")
        _decode(recipe, run, 2 + place)
    return recipe


def _decode(recipe: Path, run: Path, every: int) -> None:
    """Everything that stages 11 and 12 leave."""
    raw = recipe / "dump" / "raw"
    for part in SETS:
        meta = {
            **COMMON,
            "n_params": 555,
            "audio_seconds": 20.0,
            "decode_seconds": 0.02,
            "loops": 0,
            "truncated": 1,
        }
        english, german = raw / part / "text.ts.en", raw / part / "text.ts.de"
        out = run / "asr" / part
        write_table(out / "text", _misheard(english, every))
        score_set(out / "text", english, out, {**meta, "task": "asr"}, utt2spk=raw / part / "utt2spk")
        out = run / "st" / part
        write_table(out / "text", _misheard(german, every))
        write_json(out / "decode.json", {**meta, "task": "st"})
        score_translations(out / "text", [german], out, {**meta, "task": "st"})
        out = run / "tts" / part
        _synthesise(recipe, out, english)
        write_table(out / "heard", _misheard(english, every))
        spoken = {
            **meta,
            "task": "tts",
            "mcd_db": 4.25,
            "mel_db": 12.5,
            "speech_length_ratio": 0.9,
            "not_compared": 0,
        }
        score_set(out / "heard", english, out, spoken, utt2spk=raw / part / "utt2spk")
    out = run / "caption" / "digits"
    write_table(
        out / "text", {f"d{n}": f"the digit {DIGITS[n if n % every else 9 - n]}" for n in range(PAIRS)}
    )
    captions = recipe / "data" / "digits" / "captions.tsv"
    score_captions(
        out / "text", captions, out, {**COMMON, "task": "caption"}, labels=captions.with_name("labels")
    )


def _paths(name: str) -> list[list[str]]:
    return [
        [f"dump/raw/{name}/text.rm.mfcc_km{UNITS}", "speech", "text"],
        [f"dump/raw/{name}/text.ts.en", "text", "text"],
    ]


def _files(*fields: str) -> dict[str, str]:
    known = {"speech": f"text.rm.mfcc_km{UNITS}", "text": "text.ts.en", "target_text": "text.ts.de"}
    return {field: f"dump/raw/dev/{known[field]}" for field in fields}


def _make_data(recipe: Path, fsdd_dir: Path) -> None:
    """Pairs of recorded digits, their words in two languages, and units."""
    recordings = sorted((fsdd_dir / "recordings").glob("*.wav"))
    generator = np.random.default_rng(7)
    for place, name in enumerate(SETS):
        tables: dict[str, dict[str, str]] = {
            key: {} for key in ("wav.scp", "utt2spk", "utt2dur", "en", "de", "units")
        }
        (recipe / "data" / "wavs").mkdir(parents=True, exist_ok=True)
        for number in range(PAIRS):
            pair = [recordings[(97 * number + 31 * place + step) % len(recordings)] for step in (0, 211)]
            sounds = [soundfile.read(path) for path in pair]
            samples, rate = np.concatenate([sound for sound, _ in sounds]), sounds[0][1]
            speaker = pair[0].stem.split("_")[1]
            utterance = f"{speaker}-{name}-{number:03d}"
            path = recipe / "data" / "wavs" / f"{utterance}.wav"
            soundfile.write(path, samples, rate)
            digits = [int(one.stem.split("_")[0]) for one in pair]
            tables["wav.scp"][utterance] = str(path.relative_to(recipe))
            tables["utt2spk"][utterance] = speaker
            tables["utt2dur"][utterance] = f"{len(samples) / rate:.4f}"
            tables["en"][utterance] = " ".join(DIGITS[digit] for digit in (*digits, *digits))
            tables["de"][utterance] = " ".join(GERMAN[digit] for digit in (*digits, *digits))
            tables["units"][utterance] = ids_to_text(generator.integers(0, UNITS, 20 + number))
        raw = recipe / "dump" / "raw"
        for file in ("utt2spk", "utt2dur"):
            write_table(raw / name / file, tables[file])
            write_table(raw / "org" / name / file, tables[file])
        write_table(raw / "org" / name / "wav.scp", tables["wav.scp"])
        write_table(raw / name / "text.ts.en", tables["en"])
        write_table(raw / name / "text.ts.de", tables["de"])
        write_table(raw / name / f"text.rm.mfcc_km{UNITS}", tables["units"])


def _make_images(recipe: Path) -> None:
    from PIL import Image

    folder = recipe / "data" / "digits"
    folder.mkdir(parents=True)
    names = [f"d{n}" for n in range(PAIRS)]
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    write_table(folder / "images.scp", {name: f"data/digits/{name}.png" for name in names})
    write_table(folder / "labels", {name: DIGITS[n] for n, name in enumerate(names)})
    write_table(folder / "text", {name: f"the digit {DIGITS[n]}" for n, name in enumerate(names)})
    lines = [
        f"{name}\tthe digit {DIGITS[n]}\ta {DIGITS[n]} written by hand\n" for n, name in enumerate(names)
    ]
    (folder / "captions.tsv").write_text("".join(lines))
    tokens = {name: " ".join(str((n * step) % PIECES) for step in range(4)) for n, name in enumerate(names)}
    write_table(recipe / "dump" / "raw" / "digits" / "image_tokens", tokens)


def _synthesise(recipe: Path, out: Path, texts: Path) -> None:
    """A data directory of tones where `bin.synthesise` puts what it made; its paths start at the recipe."""
    wavs: dict[str, str] = {}
    (out / "speech" / "wavs").mkdir(parents=True)
    for number, line in enumerate(texts.read_text().splitlines()):
        utterance = line.split()[0]
        path = out / "speech" / "wavs" / f"{utterance}.wav"
        seconds = 0.3 + 0.05 * number
        soundfile.write(path, 0.3 * np.sin(2 * np.pi * 1000 * np.arange(int(16000 * seconds)) / 16000), 16000)
        wavs[utterance] = str(path.relative_to(recipe))
    write_table(out / "speech" / "wav.scp", wavs)
    write_table(out / "speech" / "utt2spk", {name: name for name in wavs})


def _make_run(recipe: Path, run: Path, config: Mapping) -> Path:
    run.mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(dict(config)))
    (recipe / "conf").mkdir(exist_ok=True)
    (recipe / "conf" / "train.yaml").write_text("specaug: specaug\n")
    (run / "run.sh").write_text(f"#!/usr/bin/env bash\n./run.sh --tag '{run.name}'\n")
    stamp = {"host": "node1", "seconds": 3.5, "options": {"given": [f"seed={config['seed']}"]}}
    (run / "train.done.json").write_text(json.dumps(stamp))
    (run / "train.json").write_text('{"command": ["python3", "-m", "espnet_sld.bin.train"]}')
    return run


def _misheard(reference: Path, every: int) -> dict[str, str]:
    """Hypotheses with one word wrong, one too many or one missing in every so many utterances."""
    heard = {}
    for number, line in enumerate(reference.read_text().splitlines()):
        utterance, *words = line.split()
        if number % every == 0:
            kind = zlib.crc32(utterance.encode()) % 3
            words = [words[:-1], [*words, "oh"], ["oh", *words[1:]]][kind]
        heard[utterance] = " ".join(words)
    return heard


def _write_events(
    run: Path, both: Mapping[str, float], valid: Mapping[str, float], empty: str = "", epochs: int = 6
) -> None:
    """Event files of training (4 points an epoch) and development; `empty`: no target of it in the 2nd."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for phase, every in (("train", 25), ("valid", 100)):
        writer = EventFileWriter(str(run / "tensorboard" / phase))
        figures = {**both, **({"lr": 0.001, "padding": 1.5} if phase == "train" else valid)}
        for step in range(every, 100 * epochs + 1, every):
            for tag, level in figures.items():
                value = level * (1.0 + 50.0 / step) if tag in both else level
                value = 0.0 if empty and tag.endswith(empty) and (phase, step) == ("train", 50) else value
                summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                writer.add_event(Event(wall_time=float(step), step=step, summary=summary))
        writer.close()
