"""What the page's own program reads: utterances with every distinct hypothesis once, within a bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.report.alignment import steps
from espnet_sld.scoring.report.experiment import Experiment, ScoredSet
from espnet_sld.scoring.report.intervals import widening_table

OVERHEAD = 12  # bytes that JSON adds to a text


@dataclass(frozen=True)
class System:
    """One decoding of one experiment."""

    experiment: Experiment
    tag: str
    short: str  # the experiment, as tables call it
    name: str  # this decoding, as the page calls it

    def scored(self, name: str) -> ScoredSet | None:
        """Its decoding of the set `name`, if there is one."""
        return self.experiment.scored.get((self.tag, name))


@dataclass(frozen=True)
class SetTable:
    """All systems that scored one set, on the same utterances.

    Attributes:
        systems: positions in the list of systems, in step with the rows of `errors`.
        errors: (R, N) int64 word errors. words: (N,) reference words.
        char_errors: (R, N). chars: (N,).
    """

    name: str
    utterances: list[str]
    references: list[str]
    systems: list[int]
    errors: np.ndarray
    words: np.ndarray
    char_errors: np.ndarray
    chars: np.ndarray

    @property
    def interest(self) -> np.ndarray:
        """(N,) what is shown first: where systems differ most, then where there are most errors."""
        spread = self.errors.max(axis=0) - self.errors.min(axis=0)
        total = self.errors.sum(axis=0)
        return spread * (int(total.max(initial=0)) + 1) + total


def list_systems(experiments: Sequence[Experiment]) -> list[System]:
    """Every decoding of every experiment, with the decode tag in its name where there are several."""
    tags = [(experiment, tag) for experiment in experiments for tag in _tags(experiment)]
    several = len({tag for _, tag in tags}) > 1
    alone = len(experiments) == 1
    short = short_names([experiment.name for experiment in experiments])
    systems = []
    for experiment, tag in tags:
        base = short[experiment.name]
        systems.append(System(experiment, tag, base, tag if alone else f"{base}, {tag}" if several else base))
    return systems


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Experiment → its name without what all have in common: folder, and the system's prefix."""
    folders = {name.rpartition("/")[0] for name in names}
    prefix = "asr_sld_"
    common = len(folders) == 1 and all(name.rpartition("/")[2].startswith(prefix) for name in names)
    return {name: name.rpartition("/")[2].removeprefix(prefix) if common else name for name in names}


def set_tables(systems: Sequence[System]) -> tuple[list[SetTable], list[str]]:
    """A table for every set; and, in words, which systems are left out since they scored other references."""
    scored_by = ((system, key) for system in systems for key in system.experiment.scored)
    names = dict.fromkeys(name for system, (tag, name) in scored_by if tag == system.tag)
    tables, problems = [], []
    for name in names:
        groups: dict[tuple, list[int]] = {}
        for index, system in enumerate(systems):
            scored = system.scored(name)
            if scored is not None:
                key = (tuple(scored.utterances), tuple(scored.references))
                groups.setdefault(key, []).append(index)
        (utterances, references), members = max(groups.items(), key=lambda item: len(item[1]))
        others = [systems[i].name for group in groups.values() if group is not members for i in group]
        if others:
            problems.append(
                f"{name}: {', '.join(others)} scored other utterances or references than the other "
                f"{len(members)} and can be compared with none of them; shown in their own reports only"
            )
        counts = [systems[i].scored(name).counts for i in members]
        tables.append(
            SetTable(
                name,
                list(utterances),
                list(references),
                members,
                np.stack([count["sub"] + count["ins"] + count["del"] for count in counts]),
                counts[0]["words"],
                np.stack([count["char_errors"] for count in counts]),
                counts[0]["chars"],
            )
        )
    return tables, problems


def set_payload(
    table: SetTable,
    systems: Sequence[System],
    *,
    text_bytes: int,
    durations: Mapping[str, float] | None = None,
    speakers: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], int]:
    """JSON values of one set, and how many utterances have their words in it.

    Words and alignments are kept while `text_bytes` last, for the utterances of most interest first. The
    others keep the letters of their errors, so that counts, filters and significance cover all of them.

    Returns:
        `utts`, `words`, `refs` (None: words not kept), `variants` (utterance → [[hypothesis, steps], …]; a
        hypothesis that is the reference has neither), `systems` (position → variant of each utterance).
    """
    variants: list[list[list[str]]] = [[] for _ in table.utterances]
    chosen: dict[str, list[int]] = {}
    for index in table.systems:
        scored = systems[index].scored(table.name)
        chosen[str(index)] = [
            _variant(known, reference, hypothesis)
            for known, reference, hypothesis in zip(
                variants, table.references, scored.hypotheses, strict=True
            )
        ]
    room, kept = text_bytes, np.zeros(len(table.utterances), bool)
    for place in np.argsort(-table.interest, kind="stable").tolist():
        size = len(table.references[place].encode()) + OVERHEAD
        size += sum(len(text.encode()) + len(edits) + OVERHEAD for text, edits in variants[place])
        if size > room:
            break
        room -= size
        kept[place] = True
    payload = {
        "name": table.name,
        "utts": table.utterances,
        "words": table.words.tolist(),
        "refs": [text if keep else None for text, keep in zip(table.references, kept, strict=True)],
        "variants": [
            known if keep else [["", edits.replace("=", "")] for _, edits in known]
            for known, keep in zip(variants, kept, strict=True)
        ],
        "systems": chosen,
        "widening": widening_table(len(table.utterances)),
    }
    if durations:
        payload["seconds"] = [
            round(durations[name], 2) if name in durations else None for name in table.utterances
        ]
    if speakers:
        names = sorted({speakers.get(name, "?") for name in table.utterances})
        places = {name: place for place, name in enumerate(names)}
        payload["speakers"] = names
        payload["speaker"] = [places[speakers.get(name, "?")] for name in table.utterances]
    return payload, int(kept.sum())


def _variant(known: list[list[str]], reference: str, hypothesis: str) -> int:
    """The number of a hypothesis among those of its utterance; it is added if it is new."""
    words = hypothesis.split()
    expected = reference.split()
    entry = ["", ""] if words == expected else [" ".join(words), steps(expected, words)]
    for place, other in enumerate(known):
        if other == entry:
            return place
    known.append(entry)
    return len(known) - 1


def _tags(experiment: Experiment) -> list[str]:
    return list(dict.fromkeys(tag for tag, _ in experiment.scored))


def check_names(systems: Sequence[System]) -> None:
    """Raises InputError if two systems would have the same name on the page."""
    names = [system.name for system in systems]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two decodings are called '{twice}'; rename one of the experiment directories")
