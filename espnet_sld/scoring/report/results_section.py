"""Error rates with confidence intervals: every decoding and set, and every experiment of a recipe."""

from collections.abc import Sequence

from espnet_sld.scoring.markdown import counted, number
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.intervals import rate_intervals
from espnet_sld.scoring.report.payload import SetTable, System

Interval = tuple[float, float]
EXPLANATION = (
    "Error rates in percent of the reference. In brackets: 95 % intervals from {resamples} bootstrap samples "
    "of the utterances (what another test set of this kind could give this trained model; not what another "
    "seed would give)."
)


def intervals(
    tables: Sequence[SetTable], *, resamples: int, seed: int = 0
) -> dict[tuple[int, str], tuple[Interval, Interval]]:
    """(system, set) → intervals of WER and CER."""
    found = {}
    for table in tables:
        words = rate_intervals(table.errors, table.words, resamples=resamples, seed=seed)
        chars = rate_intervals(table.char_errors, table.chars, resamples=resamples, seed=seed)
        for index, *both in zip(table.systems, words, chars, strict=True):
            found[index, table.name] = tuple(both)
    return found


def decodings_table(systems: Sequence[System], tables: Sequence[SetTable], *, resamples: int) -> str:
    """One experiment: a row for every decoding and set."""
    ranges = intervals(tables, resamples=resamples)
    rows = []
    for index, system in enumerate(systems):
        for table in tables:
            scored = system.scored(table.name)
            if scored is None or (index, table.name) not in ranges:
                continue
            result, (word_range, char_range) = scored.result, ranges[index, table.name]
            wrong = 100.0 * result.sentence_errors / max(result.utterances, 1)
            rows.append(
                (
                    markup.text(system.tag),
                    markup.text(table.name),
                    _rate(result.wer, word_range),
                    _rate(result.cer, char_range),
                    *(_count(value) for value in (result.sub, result.ins, result.deletions)),
                    _count(result.ref_words),
                    _count(result.utterances),
                    (number(wrong, 1), wrong),
                    (number(result.rtf, 4), result.rtf),
                    _count(result.loops),
                    _count(result.truncated),
                )
            )
    header = ("decoding", "set", "WER %", "CER %", "S", "I", "D", "words", "utts", "wrong %", "RTF")
    header += ("loops", "cut")
    note = EXPLANATION.format(resamples=counted(resamples)) + (
        " S, I, D: substituted, inserted, deleted words; wrong: utterances with an error; RTF: seconds of "
        "decoding over seconds of audio; loops: hypotheses that repeat themselves; cut: ended by the length "
        "bound. Everything is chosen on the development set."
    )
    return markup.table(header, rows, left=2, name="results") + markup.paragraph(note, "note")


def experiments_table(systems: Sequence[System], tables: Sequence[SetTable], *, resamples: int) -> str:
    """All experiments of a recipe: a row for each, WER and CER of every set."""
    ranges = intervals(tables, resamples=resamples)
    several = len({system.tag for system in systems}) > 1
    results = [next(iter(system.experiment.scored.values())).result for system in systems]
    sizes = {result.n_params for result in results}
    rows = []
    for index, (system, any_set) in enumerate(zip(systems, results, strict=True)):
        row: list = [_link(system), markup.text(any_set.objective or "–")]
        if several:
            row.append(markup.text(system.tag))
        row.append(_count(any_set.seed))
        if len(sizes) > 1:
            row.append(_count(any_set.n_params))
        for table in tables:
            scored = system.scored(table.name)
            if scored is None or (index, table.name) not in ranges:
                row += [("–", None), ("–", None)]
                continue
            word_range, char_range = ranges[index, table.name]
            row += [_rate(scored.result.wer, word_range), _rate(scored.result.cer, char_range)]
        rows.append(row)
    header = ["experiment", "objective", *(["decoding"] if several else []), "seed"]
    header += ["parameters"] if len(sizes) > 1 else []
    header += [f"{table.name} {what}" for table in tables for what in ("WER %", "CER %")]
    note = EXPLANATION.format(resamples=counted(resamples)) + " A click on a heading sorts by it."
    if len(sizes) == 1 and None not in sizes:
        note += f" Every model has {counted(sizes.pop())} parameters."
    left = 3 if several else 2
    return markup.table(header, rows, left=left, name="results") + markup.paragraph(note, "note")


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


def _count(value: int | None) -> tuple[str, int | None]:
    return counted(value), value
