"""The runs of a table: methods × seeds on disk, and their errors per sentence."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.result import read_result, read_utterance_errors


@dataclass(frozen=True)
class SetRun:
    """One scored set of one run."""

    wer: float  # percent
    errors: np.ndarray  # (sentences,)
    n_params: int | None
    git: str | None


@dataclass(frozen=True)
class Runs:
    """All runs of a table.

    Attributes:
        scored: (row, set) → {seed: run}.
        missing: (row, set) → seeds whose run directory exists without that set's result.
        words: set → reference words (sentences,), the same for all runs of the set.
    """

    scored: dict[tuple[str, str], dict[int, SetRun]]
    missing: dict[tuple[str, str], list[int]]
    words: dict[str, np.ndarray]

    def shared_seeds(self, first: str, second: str, name: str) -> list[int]:
        """Seeds with which both rows have scored the set `name`."""
        return sorted(self.scored[first, name].keys() & self.scored[second, name].keys())

    def revisions(self) -> list[str]:
        """Of the code that made them, each once."""
        return sorted({run.git for done in self.scored.values() for run in done.values() if run.git})

    def errors(self, row: str, name: str, seeds: Sequence[int]) -> np.ndarray:
        """Errors (seeds, sentences) in the order of `seeds`."""
        return np.stack([self.scored[row, name][seed].errors for seed in seeds])


def read_runs(
    runs_dir: str | os.PathLike,
    rows: Sequence[str],
    sets: Sequence[str],
    *,
    run_pattern: str = "asr_sld_{row}_seed{seed}",
    decode_tag: str = "decode_greedy",
    allow_none: bool = False,
) -> Runs:
    """Read `<runs_dir>/<run>/<decode_tag>/<set>/{result.json,per_utterance.tsv}` of all rows and seeds.

    Raises:
        InputError: no run matches at all (unless `allow_none`), the pattern lacks a field, a file is
            damaged, or two runs scored different references for the same set.
    """
    runs_dir = Path(runs_dir)
    if not runs_dir.is_dir() and not allow_none:
        raise InputError(f"{runs_dir}: no such directory; give the one that holds the runs")
    scored, missing = {}, {}
    references: dict[str, tuple[Path, tuple[str, ...], np.ndarray]] = {}
    for row in rows:
        directories = run_directories(runs_dir, run_pattern, row)
        for name in sets:
            done, lacking = {}, []
            for seed, directory in directories.items():
                set_dir = directory / decode_tag / name
                if not (set_dir / "result.json").is_file():
                    lacking.append(seed)
                    continue
                done[seed] = _read_set(set_dir, name, references)
            scored[row, name], missing[row, name] = done, lacking
    if not any(scored.values()) and not allow_none:
        raise InputError(
            f"{runs_dir}: no {run_pattern}/{decode_tag}/<set>/result.json for rows {', '.join(rows)}; "
            "train and score them first, or set --run_pattern and --decode_tag"
        )
    return Runs(scored, missing, {name: words for name, (_, _, words) in references.items()})


def run_directories(runs_dir: str | os.PathLike, run_pattern: str, row: str) -> dict[int, Path]:
    """Seed → run directory of one row; empty where `runs_dir` does not exist."""
    if "{row}" not in run_pattern or "{seed}" not in run_pattern:
        raise InputError(f"--run_pattern '{run_pattern}': it must contain {{row}} and {{seed}}")
    expression = re.escape(run_pattern).replace(r"\{row\}", re.escape(row)).replace(r"\{seed\}", r"(\d+)")
    paths = [path for path in Path(runs_dir).iterdir() if path.is_dir()] if Path(runs_dir).is_dir() else []
    found = ((re.fullmatch(expression, path.name), path) for path in paths)
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def _read_set(set_dir: Path, name: str, references: dict) -> SetRun:
    """One scored set, checked against the references of the runs read before."""
    result = read_result(set_dir / "result.json")
    counts = read_utterance_errors(set_dir / "per_utterance.tsv")
    if (
        counts.errors.sum() != result.sub + result.ins + result.deletions
        or counts.words.sum() != result.ref_words
    ):
        raise InputError(f"{set_dir}: result.json and per_utterance.tsv disagree; score that set again")
    known = references.setdefault(name, (set_dir, counts.utterances, counts.words))
    if known[1] != counts.utterances or not np.array_equal(known[2], counts.words):
        raise InputError(
            f"{set_dir}: other utterances or references than in {known[0]}; "
            "runs can be compared on the same test set only: decode and score one of them again"
        )
    return SetRun(result.wer, counts.errors, result.n_params, result.git)
