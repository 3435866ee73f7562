"""What the page's own program reads: utterances with every distinct hypothesis once, within a bound."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.scoring.report.alignment import steps
from espnet_sld.scoring.report.experiment import Experiment, ScoredSet
from espnet_sld.scoring.report.intervals import widening_table
from espnet_sld.scoring.report.kinds import KINDS, Kind
from espnet_sld.scoring.results_md import is_development

OVERHEAD = 12  # bytes that JSON adds to a text
PREFIXES = ("asr_sld_", "dmlm_")


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
    """All systems that scored one kind of output of one set, on the same utterances.

    Attributes:
        references: those of the first system, where each has its own (`kind.own_references`).
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
    kind: Kind = KINDS["recognition"]

    @property
    def interest(self) -> np.ndarray:
        """(N,) what is shown first: where systems differ most, then where there are most errors."""
        spread = self.errors.max(axis=0) - self.errors.min(axis=0)
        total = self.errors.sum(axis=0)
        return spread * (int(total.max(initial=0)) + 1) + total


def list_systems(experiments: Sequence[Experiment]) -> list[System]:
    """Every decoding of every experiment, with the decode tag in its name where its kind has several."""
    tags = [(experiment, tag) for experiment in experiments for tag in _tags(experiment)]
    tags_of: dict[str, set[str]] = {}
    for experiment, tag in tags:
        tags_of.setdefault(_kind(experiment, tag), set()).add(tag)
    alone = len(experiments) == 1
    short = short_names([experiment.name for experiment in experiments])
    systems = []
    for experiment, tag in tags:
        base, several = short[experiment.name], len(tags_of[_kind(experiment, tag)]) > 1
        systems.append(System(experiment, tag, base, tag if alone else f"{base}, {tag}" if several else base))
    return systems


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Experiment → its name without what all have in common: folder, and the system's prefix."""
    if len({name.rpartition("/")[0] for name in names}) > 1:
        return {name: name for name in names}
    bare = {name: name.rpartition("/")[2] for name in names}
    prefix = next((one for one in PREFIXES if all(name.startswith(one) for name in bare.values())), "")
    return {name: short.removeprefix(prefix) for name, short in bare.items()}


def set_tables(systems: Sequence[System]) -> tuple[list[SetTable], list[str]]:
    """A table for every kind of output and set; and, in words, which systems are left out of one.

    Those are systems that scored other utterances or references than the others.
    """
    names = {
        (system.scored(name).kind.name, name): None
        for system in systems
        for tag, name in system.experiment.scored
        if tag == system.tag
    }
    order = list(KINDS)
    tables, problems = [], []
    for kind, name in sorted(names, key=lambda key: order.index(key[0])):
        groups: dict[tuple, list[int]] = {}
        for index, system in enumerate(systems):
            scored = system.scored(name)
            if scored is not None and scored.kind.name == kind:
                key = (
                    tuple(scored.utterances),
                    () if scored.kind.own_references else tuple(scored.references),
                )
                groups.setdefault(key, []).append(index)
        (utterances, _), members = max(groups.items(), key=lambda item: len(item[1]))
        others = [systems[i].name for group in groups.values() if group is not members for i in group]
        if others:
            problems.append(
                f"{name}: {', '.join(others)} scored other utterances or references than the other "
                f"{len(members)} and can be compared with none of them; shown in their own reports only"
            )
        decoded = [systems[i].scored(name) for i in members]
        tables.append(
            SetTable(
                name,
                list(utterances),
                list(decoded[0].references),
                members,
                np.stack([one.errors for one in decoded]),
                decoded[0].counts["words"],
                np.stack([one.counts["char_errors"] for one in decoded]),
                decoded[0].counts["chars"],
                KINDS[kind],
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
        hypothesis that is the reference has neither; a third item is the reference where each system has its
        own), `systems` (position → variant of each utterance), and what kind of output it is.
    """
    own = table.kind.own_references
    variants: list[list[list[str]]] = [[] for _ in table.utterances]
    chosen: dict[str, list[int]] = {}
    for index in table.systems:
        scored = systems[index].scored(table.name)
        chosen[str(index)] = [
            _variant(known, reference, hypothesis, own)
            for known, reference, hypothesis in zip(
                variants, scored.references, scored.hypotheses, strict=True
            )
        ]
    room, kept = text_bytes, np.zeros(len(table.utterances), bool)
    for place in np.argsort(-table.interest, kind="stable").tolist():
        size = len(table.references[place].encode()) + OVERHEAD
        size += sum(len(part.encode()) + OVERHEAD // 2 for known in variants[place] for part in known)
        if size > room:
            break
        room -= size
        kept[place] = True
    payload = {
        "name": table.name,
        "kind": table.kind.name,
        "note": table.kind.note,
        "output": table.kind.output,
        "unit": table.kind.unit,
        "development": is_development(table.name),
        "utts": table.utterances,
        "words": table.words.tolist(),
        "refs": [_spaced(text) if keep else None for text, keep in zip(table.references, kept, strict=True)],
        "variants": [
            known if keep else [["", edits.replace("=", "")] for _, edits, *_ in known]
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


def _spaced(text: str) -> str:
    """Words as they were counted, a space between them: the page's program splits at spaces alone."""
    return " ".join(text.split())


def _variant(known: list[list[str]], reference: str, hypothesis: str, own_reference: bool) -> int:
    """The number of a hypothesis among those of its utterance; it is added if it is new."""
    words = hypothesis.split()
    expected = reference.split()
    entry = ["", ""] if words == expected else [" ".join(words), steps(expected, words)]
    entry += [" ".join(expected)] if own_reference else []
    for place, other in enumerate(known):
        if other == entry:
            return place
    known.append(entry)
    return len(known) - 1


def _tags(experiment: Experiment) -> list[str]:
    return list(dict.fromkeys(tag for tag, _ in experiment.scored))


def _kind(experiment: Experiment, tag: str) -> str:
    """What a decoding is of; all its sets are of one kind."""
    return next(scored.kind.name for (of, _), scored in experiment.scored.items() if of == tag)


def check_names(systems: Sequence[System]) -> None:
    """Raises InputError if two systems of one kind would have the same name on the page."""
    names = [(_kind(system.experiment, system.tag), system.name) for system in systems]
    if len(set(names)) < len(names):
        twice = next(name for kind, name in names if names.count((kind, name)) > 1)
        raise InputError(f"two decodings are called '{twice}'; rename one of the experiment directories")
