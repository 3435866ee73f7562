"""Results with confidence intervals, of an experiment or a recipe: a table for every kind of output."""

import math
from collections.abc import Callable, Sequence

from espnet_sld.scoring.markdown import counted, number
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.intervals import rate_intervals
from espnet_sld.scoring.report.kinds import KINDS, Kind
from espnet_sld.scoring.report.payload import SetTable, System
from espnet_sld.scoring.result import Result

Interval = tuple[float, float]
Ranges = tuple[Interval, Interval]  # of WER and CER
Cell = tuple[str, float | None]
EXPLANATION = (
    "Error rates in percent of the reference. In brackets: 95 % intervals from {resamples} bootstrap samples "
    "of the utterances (what another test set of this kind could give this trained model; not what another "
    "seed would give)."
)
SORTS = "A click on a heading sorts by it."
CHOSEN = "Everything is chosen on the development set."
WILSON = 1.959964  # normal quantile of a 95 % interval


def intervals(
    tables: Sequence[SetTable], systems: Sequence[System], *, resamples: int, seed: int = 0
) -> dict[tuple[int, str, str], Ranges]:
    """(system, kind, set) → intervals of WER and CER."""
    found = {}
    for table in tables:
        # The same draws serve systems with the same references.
        groups = [[index] for index in table.systems] if table.kind.own_references else [table.systems]
        for members in groups:
            rows = [table.systems.index(index) for index in members]
            counts = systems[members[0]].scored(table.name).counts
            words = rate_intervals(table.errors[rows], counts["words"], resamples=resamples, seed=seed)
            chars = rate_intervals(table.char_errors[rows], counts["chars"], resamples=resamples, seed=seed)
            for index, *both in zip(members, words, chars, strict=True):
                found[index, table.kind.name, table.name] = tuple(both)
    return found


# heading → cell of one scored set; a column in which nothing is known is left out
Column = tuple[str, Callable[[Result, Ranges], Cell], str]  # heading, cell, what the note says of it


def _counts(*names: tuple[str, str, str]) -> list[Column]:
    return [
        (heading, lambda result, _, name=name: markup.count(getattr(result, name)), words)
        for heading, name, words in names
    ]


def _figure(heading: str, key: str, digits: int, words: str = "") -> Column:
    return heading, lambda result, _: _number(result.extra.get(key), digits), words


WER: Column = ("WER %", lambda result, ranges: _rate(result.wer, ranges[0]), "")
CER: Column = ("CER %", lambda result, ranges: _rate(result.cer, ranges[1]), "")
RTF: Column = (
    "RTF", lambda result, _: (real_time(result.rtf), result.rtf),
    "RTF: seconds of decoding over seconds of audio",
)  # fmt: skip
CPU: Column = (
    "RTF, CPU", lambda result, _: (real_time(result.cpu_rtf), result.cpu_rtf),
    "CPU: the same in CPU time of all threads, which other work on the machine changes little",
)  # fmt: skip
EDITS = _counts(("S", "sub", "S, I, D: substituted, inserted, deleted words"), ("I", "ins", ""),
                ("D", "deletions", ""), ("words", "ref_words", ""))  # fmt: skip
NUMBER = _counts(("utts", "utterances", ""))
ENDS = [
    *_counts(("loops", "loops", "loops: hypotheses that repeat themselves"),
             ("cut", "truncated", "cut: ended by the length bound")),
    ("too short", lambda result, _: markup.count(result.extra.get("too_short")),
     "too short: utterances with fewer frames than the model needs, which give no words"),
]  # fmt: skip
WRONG: Column = (
    "wrong %",
    lambda result, _: _number(100.0 * result.sentence_errors / max(result.utterances, 1), 1),
    "wrong: utterances with an error",
)
COLUMNS: dict[str, list[Column]] = {
    "recognition": [WER, CER, *EDITS, *NUMBER, WRONG, RTF, CPU, *ENDS],
    "translation": [
        (
            "BLEU",
            lambda result, _: _number(bleu(result), 1),
            "BLEU: sacrebleu's, – where no hypothesis has four words",
        ),
        WER, *EDITS, *NUMBER, WRONG, RTF, *ENDS,
    ],
    "caption": [
        (
            "right %",
            lambda result, _: right_captions(result),
            "right: captions that name the right class and no other (interval: Wilson's)",
        ),
        _figure("CIDEr-D", "cider", 1, "CIDEr-D: 100 × the mean, 1–4-grams"),
        ("WER %", WER[1], "WER: against the closest of an image's references"),
        *_counts(("words", "ref_words", ""), ("images", "utterances", "")),
        (WRONG[0], WRONG[1], "wrong: captions that are no reference word by word"),
        *ENDS,
    ],
    "synthesis": [
        ("heard WER %", WER[1], "heard: by another recogniser, in the synthesised speech"),
        _figure("MCD dB", "mcd_db", 2, "MCD: mel cepstral distortion to the recording of the same words, "
                "after time warping"),
        _figure("mel dB", "mel_db", 2, "mel: difference of mel magnitudes, likewise"),
        _figure("length", "speech_length_ratio", 2, "length: of the synthesised speech over the recording's"),
        _figure("not compared", "not_compared", 0, "not compared: utterances without speech, or without a "
                "recording"),
        *_counts(("words", "ref_words", "")), *NUMBER, WRONG, *ENDS,
    ],
}  # fmt: skip
IF_ANY = ("too short", "not compared")  # columns that are shown if one of their counts is not 0
FIGURES = 2  # columns of a kind that a recipe's table has


def results_title(tables: Sequence[SetTable]) -> str:
    """Heading of the section."""
    kinds = {table.kind.name for table in tables}
    return "Error rates" if kinds <= {"recognition"} else "Results"


def decodings_tables(systems: Sequence[System], tables: Sequence[SetTable], *, resamples: int) -> str:
    """One experiment: a table for every kind of output, a row for every decoding and set."""
    ranges = intervals(tables, systems, resamples=resamples)
    parts = []
    for kind, members in by_kind(tables):
        columns, rows = COLUMNS[kind.name], []
        for index, system in enumerate(systems):
            for table in members:
                if (index, kind.name, table.name) not in ranges:
                    continue
                result, found = system.scored(table.name).result, ranges[index, kind.name, table.name]
                cells = [cell(result, found) for _, cell, _ in columns]
                rows.append([markup.text(system.tag), markup.text(table.name), *cells])
        kept = [
            place for place, column in enumerate(columns) if _known(column, [row[place + 2] for row in rows])
        ]
        header = ("decoding", "set", *(columns[place][0] for place in kept))
        parts.append(_titled(kind, tables))
        body = [[*row[:2], *(row[place + 2] for place in kept)] for row in rows]
        parts.append(markup.table(header, body, left=2, name=_name(kind, tables)))
        parts.append(_note([columns[place] for place in kept], tables, resamples, CHOSEN))
    return _explained(tables, resamples, CHOSEN) + "".join(parts)


def experiments_tables(systems: Sequence[System], tables: Sequence[SetTable], *, resamples: int) -> str:
    """All experiments of a recipe: a table for every kind, a row for each experiment, two figures a set."""
    ranges = intervals(tables, systems, resamples=resamples)
    inside = "".join(
        _experiments_table(kind, systems, members, tables, ranges, resamples)
        for kind, members in by_kind(tables)
    )
    return _explained(tables, resamples, SORTS) + inside


def _experiments_table(
    kind: Kind,
    systems: Sequence[System],
    members: Sequence[SetTable],
    tables: Sequence[SetTable],
    ranges: dict[tuple[int, str, str], Ranges],
    resamples: int,
) -> str:
    there = [index for index in range(len(systems)) if any(index in table.systems for table in members)]
    several = len({systems[index].tag for index in there}) > 1
    results = {index: next(iter(systems[index].experiment.scored.values())).result for index in there}
    sizes = {result.n_params for result in results.values()}
    columns = COLUMNS[kind.name][:FIGURES]
    rows = []
    for index in there:
        system, any_set = systems[index], results[index]
        row: list = [_link(system), markup.text(any_set.objective or "–")]
        row += [markup.text(system.tag)] if several else []
        row.append(markup.count(any_set.seed))
        row += [markup.count(any_set.n_params)] if len(sizes) > 1 else []
        for table in members:
            found = ranges.get((index, kind.name, table.name))
            scored = system.scored(table.name)
            row += [("–", None) if found is None else cell(scored.result, found) for _, cell, _ in columns]
        rows.append(row)
    header = ["experiment", "objective", *(["decoding"] if several else []), "seed"]
    header += ["parameters"] if len(sizes) > 1 else []
    header += [f"{table.name} {heading}" for table in members for heading, _, _ in columns]
    same = len(sizes) == 1 and None not in sizes
    size = f"Every model has {counted(sizes.pop())} parameters." if same else ""
    table = markup.table(header, rows, left=3 if several else 2, name=_name(kind, tables))
    return _titled(kind, tables) + table + _note(columns, tables, resamples, SORTS, size)


def by_kind(tables: Sequence[SetTable]) -> list[tuple[Kind, list[SetTable]]]:
    """The tables of each kind of output that occurs."""
    groups = ((kind, [table for table in tables if table.kind.name == kind.name]) for kind in KINDS.values())
    return [(kind, members) for kind, members in groups if members]


def bleu(result: Result) -> float | None:
    """BLEU, or None where it says nothing: no hypothesis is long enough for a 4-gram."""
    totals = result.extra.get("bleu_totals") or [1]
    return result.extra.get("bleu") if totals[-1] else None


def right_captions(result: Result) -> Cell:
    """Percent of captions that name the right class, with Wilson's interval."""
    right, wrong, none = (result.extra.get(f"class_{name}") for name in ("right", "wrong", "none"))
    if right is None:
        return "–", None
    total = right + wrong + none
    return _rate(100.0 * right / total, wilson(right, total))


def wilson(right: int, total: int) -> Interval:
    """Wilson's 95 % interval of a share, in percent (E. B. Wilson, JASA 1927)."""
    share, square = right / total, WILSON**2
    middle = share + square / (2 * total)
    half = WILSON * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    low, high = ((middle + sign * half) / (1 + square / total) for sign in (-1, 1))
    return 100.0 * max(low, 0.0), 100.0 * min(high, 1.0)


def real_time(value: float | None) -> str:
    """A real-time factor with two digits: 0.00085, 1.2."""
    if value is None or not math.isfinite(value) or value <= 0:
        return number(value, 4)
    return f"{value:.{max(1, 1 - math.floor(math.log10(value)))}f}"


def _titled(kind: Kind, tables: Sequence[SetTable]) -> str:
    return "" if _alone(tables) else f"<h3>{markup.text(kind.title)}</h3>"


def _alone(tables: Sequence[SetTable]) -> bool:
    return all(table.kind.name == "recognition" for table in tables)


def _known(column: Column, cells: Sequence[Cell]) -> bool:
    """Something is known in a column, and worth its room."""
    return any(value if column[0] in IF_ANY else value is not None for _, value in cells)


def _explained(tables: Sequence[SetTable], resamples: int, last: str) -> str:
    """What all tables have in common, once; a single table has it under itself."""
    if _alone(tables):
        return ""
    return markup.paragraph(f"{EXPLANATION.format(resamples=counted(resamples))} {last}", "note")


def _note(
    columns: Sequence[Column], tables: Sequence[SetTable], resamples: int, last: str, more: str = ""
) -> str:
    """What the columns of one table are."""
    said = "; ".join(words for _, _, words in columns if words)
    words = [f"{said[:1].upper()}{said[1:]}." if said else "", more]
    if _alone(tables):
        words = [EXPLANATION.format(resamples=counted(resamples)), words[0], last, more]
    words = [one for one in words if one]
    return markup.paragraph(" ".join(words), "note") if words else ""


def _name(kind: Kind, tables: Sequence[SetTable]) -> str:
    return "results" if kind is tables[0].kind else f"results-{kind.name}"


def _link(system: System) -> tuple[str, str]:
    """The name; a link to the experiment's own page where there is one."""
    experiment, shown = system.experiment, markup.text(system.short)
    if experiment.recipe is not None and (experiment.directory / "report.html").is_file():
        try:
            target = experiment.directory.resolve().relative_to(experiment.recipe.resolve())
        except ValueError:
            return shown, experiment.name
        return f'<a href="{markup.text(target.as_posix())}/report.html">{shown}</a>', experiment.name
    return shown, experiment.name


def _rate(value: float, bounds: Interval) -> tuple[str, float]:
    low, high = bounds
    return f"{value:.2f} <span class=interval>[{low:.2f}, {high:.2f}]</span>", value


def _number(value: float | None, digits: int) -> Cell:
    return number(value, digits), value
