"""What a report needs of one experiment, read from the files that the stages leave."""

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import read_json
from espnet_sld.scoring.curves import Curve, event_files, read_scalars
from espnet_sld.scoring.report.kinds import Kind, kind_of
from espnet_sld.scoring.report.recipe_files import (
    development_files,
    find_recipe,
    folders_of_sets,
    read_mixture_file,
)
from espnet_sld.scoring.result import Result, read_counts, read_result, word_errors
from espnet_sld.scoring.results_md import is_development
from espnet_sld.scoring.run_info import read_yaml
from espnet_sld.scoring.trn import read_trn


@dataclass(frozen=True)
class ScoredSet:
    """One decoded and scored set.

    Attributes:
        counts: column of per_utterance.tsv → int64 (N,).
        references, hypotheses: words, in the order of `utterances`.
    """

    result: Result
    directory: Path
    utterances: list[str]
    counts: dict[str, np.ndarray]
    references: list[str]
    hypotheses: list[str]

    @property
    def errors(self) -> np.ndarray:
        """S + I + D (N,)."""
        return word_errors(self.counts)

    @property
    def kind(self) -> Kind:
        """What was decoded."""
        return kind_of(self.result.extra)


@dataclass(frozen=True)
class Experiment:
    """One experiment directory.

    Attributes:
        name: as the page calls it: the directory, relative to the recipe's `exp` where it lies deeper.
        scored: (decode tag, set) → the set, development sets first in each decoding.
        config: config.yaml, or {} where there is none.
        curves: phase (`train`, `valid`) → figure → curve.
        recipe: the folder that relative paths in its files start from; None if it is not found.
        problems: what could not be read and is therefore not on the page.
        mixture: the data sets of a model with several tasks, or {}.
    """

    name: str
    directory: Path
    scored: dict[tuple[str, str], ScoredSet]
    config: dict[str, Any]
    curves: dict[str, dict[str, Curve]]
    recipe: Path | None
    problems: list[str] = field(default_factory=list)
    mixture: dict[str, Any] = field(default_factory=dict)

    def path(self, relative: str | os.PathLike) -> Path:
        """A path of its files, which are relative to the recipe's folder."""
        return (self.recipe or Path()) / relative

    @property
    def set_folders(self) -> list[Path]:
        """Folders with a folder for each set, `dump/raw` first, from the development data's paths."""
        return [self.path(one) for one in folders_of_sets(development_files(self.config, self.mixture))]

    @property
    def raw_dir(self) -> Path | None:
        """`dump/raw`."""
        return next(iter(self.set_folders), None)

    @property
    def system(self) -> str:
        """`ctc`, `dmlm` (a model of a mixture of tasks) or `sld`."""
        return system_of(self.config)


def system_of(config: Mapping[str, Any]) -> str:
    """The system that a configuration is of, see `Experiment.system`."""
    return "dmlm" if config.get("mixture") else "ctc" if "interctc_layers" in config else "sld"


def read_experiment(directory: str | os.PathLike, name: str | None = None) -> Experiment:
    """Read an experiment; at least one set must be scored, everything else may be absent.

    Raises:
        InputError: no scored set, or one whose files do not belong together.
    """
    directory = Path(directory)
    scored = {}
    for path in sorted(directory.glob("*/*/result.json")):
        part = read_scored_set(path.parent)
        scored[path.parent.parent.name, path.parent.name] = part
    if not scored:
        raise InputError(
            f"{directory}: no <decode_tag>/<set>/result.json in it; decode and score a set (stages 8, 9)"
        )
    order = sorted(scored, key=lambda key: (key[0], not is_development(key[1]), key[1]))
    problems: list[str] = []
    config: dict[str, Any] = {}
    if (directory / "config.yaml").is_file():
        config = read_yaml(directory / "config.yaml", "train again (stage 7)")
    else:
        problems.append("no config.yaml: no configuration, no token statistics, no audio")
    recipe = find_recipe(directory, config)
    if config and recipe is None:
        problems.append("the data that config.yaml names was not found: no token statistics, no audio")
    return Experiment(
        name or directory.resolve().name,
        directory,
        {key: scored[key] for key in order},
        config,
        _curves(directory, problems),
        recipe,
        problems,
        read_mixture_file(directory, config, recipe),
    )


def read_scored_set(directory: Path) -> ScoredSet:
    """`result.json`, `per_utterance.tsv`, `hyp.trn` and `ref.trn` of one set, checked against each other."""
    utterances, counts = read_counts(directory / "per_utterance.tsv")
    hypotheses, references = (read_trn(directory / name) for name in ("hyp.trn", "ref.trn"))
    texts = []
    for path, table in (("hyp.trn", hypotheses), ("ref.trn", references)):
        named = _by_utterance(table, utterances)
        if named is None:
            raise InputError(f"{directory / path}: other utterances than per_utterance.tsv; score again")
        texts.append(named)
    return ScoredSet(
        read_result(directory / "result.json"), directory, utterances, counts, texts[1], texts[0]
    )


def _by_utterance(table: dict[str, str], utterances: Iterable[str]) -> list[str] | None:
    """Texts in the order of `utterances`; trn ids may have the speaker before them (`spk-utt`)."""
    utterances = list(utterances)
    if all(name in table for name in utterances):
        return [table[name] for name in utterances] if len(table) == len(utterances) else None
    # both files are in C order of the utterances, so the ids are in step
    if len(table) != len(utterances):
        return None
    pairs = list(zip(table.items(), utterances, strict=True))
    if not all(key == name or key.endswith(f"-{name}") for (key, _), name in pairs):
        return None
    return [text for (_, text), _ in pairs]


def find_experiments(recipe: str | os.PathLike) -> list[tuple[str, Path]]:
    """(name, directory) of every scored experiment of a recipe; numbers in names sort by value."""
    recipe = Path(recipe)
    found: dict[Path, str] = {}
    for pattern in ("exp*/*/*/*/result.json", "exp*/*/*/*/*/result.json"):
        for path in recipe.glob(pattern):
            directory = path.parents[2]
            found[directory] = "/".join(directory.relative_to(recipe).parts[1:])
    return sorted(((name, path) for path, name in found.items()), key=lambda item: _natural(item[0]))


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Numbers in a name sort by value: seed2 before seed10."""
    parts = re.split(r"(\d+(?:\.\d+)?)", name)
    return [(1, float(part), "") if index % 2 else (0, 0.0, part) for index, part in enumerate(parts)]


def _curves(directory: Path, problems: list[str]) -> dict[str, dict[str, Curve]]:
    curves = {}
    for phase in ("train", "valid"):
        if not event_files(directory / "tensorboard" / phase):
            problems.append(f"no tensorboard/{phase}: its curves are absent")
            continue
        try:
            curves[phase] = read_scalars(directory / "tensorboard" / phase)
        except InputError as error:
            problems.append(str(error))
    return curves


def read_optional_json(path: Path) -> dict[str, Any]:
    """A JSON object, or {} where the file is absent."""
    return read_json(path) if path.is_file() else {}
