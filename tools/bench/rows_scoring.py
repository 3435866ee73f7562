"""Rows of scoring: error rates, and the start-up of the command."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from lengths import librispeech_like
from measure import Row, allowance_row, rate_row, require, time_pairs

from espnet_sld.scoring.error_rates import count_character_errors, count_word_errors

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "transformers", "espnet", "espnet2")


def transcripts(number: int, error_rate: float = 0.05, seed: int = 0) -> tuple[list[str], list[str]]:
    """References of LibriSpeech-like lengths and hypotheses with `error_rate` word errors of three kinds."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwygpbvk"))
    words = ["".join(rng.choice(letters, rng.integers(1, 10))) for _ in range(3000)]
    frequency = 1.0 / np.arange(2, len(words) + 2)
    frequency /= frequency.sum()
    references, hypotheses = [], []
    for length in (librispeech_like(number, seed)[1] * 0.8).astype(int).clip(1):
        reference = [words[i] for i in rng.choice(len(words), length, p=frequency)]
        hypothesis = []
        for word, chance, kind in zip(
            reference, rng.random(length), rng.integers(5, size=length), strict=True
        ):
            if chance >= error_rate:
                hypothesis.append(word)
            elif kind < 3:
                hypothesis.append(words[rng.integers(len(words))])
            elif kind == 3:
                hypothesis += [word, words[rng.integers(len(words))]]
        references.append(" ".join(reference))
        hypotheses.append(" ".join(hypothesis))
    return references, hypotheses


def scoring(repeats: int, *, utterances: int = 5000) -> Row:
    """Word counts and character errors of every utterance, as the scoring stage needs them."""
    import jiwer

    references, hypotheses = transcripts(utterances)

    def ours() -> np.ndarray:
        words = count_word_errors(references, hypotheses)
        characters, _ = count_character_errors(references, hypotheses)
        return np.stack([words.hits, words.substitutions, words.insertions, words.deletions, characters], 1)

    def peer() -> np.ndarray:
        found = []
        for reference, hypothesis in zip(references, hypotheses, strict=True):
            words = jiwer.process_words(reference, hypothesis)
            letters = jiwer.process_characters(reference, hypothesis)
            errors = letters.substitutions + letters.insertions + letters.deletions
            found.append((words.hits, words.substitutions, words.insertions, words.deletions, errors))
        return np.array(found)

    own, theirs = ours(), peer()
    different = int((own != theirs).any(1).sum())
    require(different == 0, f"counts of {different} of {utterances} utterances differ from jiwer's")
    wrong = float((own[:, 1:4].sum(1) > 0).mean())
    rate = 100 * own[:, 1:4].sum() / own[:, [0, 1, 3]].sum()
    return rate_row(
        "scoring",
        "jiwer, one by one",
        time_pairs(ours, peer, repeats),
        items=utterances,
        unit="utterances/s",
        bar=5.0,
        description=f"WER and CER counts of {utterances} random utterances, WER {rate:.1f} %, "
        f"{100 * wrong:.0f} % of them with an error; same counts for every utterance",
    )


def startup(repeats: int, *, module: str = "espnet_sld.bin.score") -> Row:
    """CPU seconds of a command's `--help` in a new process, the interpreter's own start included."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}

    def run(*options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, *options, "-m", module, "--help"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    first = run("-X", "importtime")  # writes the byte code too
    loaded = {line.rsplit("|", 1)[-1].strip() for line in first.stderr.splitlines() if "|" in line}
    require("usage:" in first.stdout, f"{module} --help prints no usage")
    require(not loaded.intersection(HEAVY), f"{module} loads {sorted(loaded.intersection(HEAVY))}")
    seconds = []
    for _ in range(repeats):
        before = _children_seconds()
        run()
        seconds.append(_children_seconds() - before)
    allowed = 0.5
    return allowance_row(
        "startup",
        "none; 0.5 s allowed",
        seconds,
        allowed,
        allowed,
        unit="CPU s",
        description=f"python -m {module} --help; loads none of {', '.join(HEAVY)}. Ratio: allowed ÷ ours",
    )


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
