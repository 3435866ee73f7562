"""Declared contrasts of two rows, about methods where seeds allow it, else about two trained models."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from espnet_sld.scoring.markdown import markdown_table
from espnet_sld.scoring.runs import Runs
from espnet_sld.scoring.significance import compare_methods, compare_models, holm, verdict

METHODS, MODELS = "methods", "models"
HEADER = ("set", "contrast", "seeds", "about", "ΔWER", "95 % interval", "p", "Holm p", "verdict on the first")


def contrast_rows(
    runs: Runs,
    pairs: Sequence[tuple[str, str]],
    name: str,
    *,
    margin: float,
    resamples: int,
    seed: int,
) -> list[dict[str, Any]]:
    """Contrasts on the set `name`, as JSON values; Holm's correction runs over those that were tested.

    Two shared seeds or more: a statement about methods (`compare_methods`). One: about these two trained
    models (`compare_models`), and `about` says so. None: not tested.
    """
    entries = [_contrast(runs, *pair, name, resamples=resamples, seed=seed) for pair in pairs]
    judge(entries, margin)
    return entries


def judge(entries: Sequence[dict[str, Any]], margin: float) -> None:
    """Put Holm's p and the verdict into the entries that have a `Difference`, which becomes JSON values."""
    tested = [entry for entry in entries if entry["difference"] is not None]
    adjusted = holm([entry["difference"].p for entry in tested])
    for entry, p_holm in zip(tested, adjusted, strict=True):
        difference = entry["difference"]
        entry |= {"p_holm": p_holm, "verdict": verdict(difference, p_holm, margin)}
        entry["difference"] = asdict(difference)


def contrast_parts(table: Mapping[str, Any]) -> list[str]:
    """Heading, contrasts and their explanation, in markdown; nothing if a table or a study has none."""
    entries, settings = table["contrasts"], table["settings"]
    if not entries:
        return []
    explanation = explain_contrasts(entries, margin=settings["margin"], resamples=settings["resamples"])
    return ["## Contrasts, declared beforehand", render_contrasts(entries), explanation]


def render_contrasts(entries: Sequence[dict[str, Any]]) -> str:
    """The contrasts as a markdown table."""
    body = []
    for entry in entries:
        names = (entry["set"], f"{entry['first']} – {entry['second']}")
        seeds = ", ".join(map(str, entry["seeds"])) or "–"
        difference = entry["difference"]
        if difference is None:
            body.append((*names, seeds, "–", "–", "–", "–", "–", entry["verdict"]))
            continue
        bound = "≤ " if difference["p_is_bound"] else ""
        low, high = difference["interval95"]
        figures = (f"{difference['delta']:+.2f}", f"[{low:+.2f}, {high:+.2f}]")
        values = tuple(f"{bound}{value:.4f}" for value in (difference["p"], entry["p_holm"]))
        body.append((*names, seeds, entry["about"], *figures, *values, entry["verdict"]))
    return markdown_table(HEADER, body, left=4)


def explain_contrasts(entries: Sequence[dict[str, Any]], *, margin: float, resamples: int) -> str:
    """What the figures mean, and what they do not: only the kinds of statement that occur."""
    kinds = {entry["about"] for entry in entries if entry["about"]}
    parts = ["ΔWER: first minus second, percentage points; negative, the first is better."]
    if METHODS in kinds:
        parts.append(
            "About methods: a two-level bootstrap resamples seeds (shared by both rows) and sentences; "
            "intervals are widened for the small number of seeds."
        )
    if MODELS in kinds:
        parts.append(
            "About models: there is one run of each, so sentences alone are resampled. Such a line is a "
            "statement about these two trained models, not about the methods behind them: another seed may "
            "turn it round."
        )
    parts.append(
        f"{resamples} resamples; Holm's correction runs over the contrasts of one set. Equivalent within "
        f"{margin:g}: the 90 % interval lies within that margin. Undecided: neither is shown."
    )
    return " ".join(parts)


def _contrast(runs: Runs, first: str, second: str, name: str, *, resamples: int, seed: int) -> dict[str, Any]:
    seeds = runs.shared_seeds(first, second, name)
    entry: dict[str, Any] = {"set": name, "first": first, "second": second, "seeds": seeds, "about": None}
    entry |= {"difference": None, "p_holm": None, "verdict": "not run: no shared seed"}
    if not seeds:
        return entry
    if len(seeds) == 1 and runs.words[name].size < 2:
        return {**entry, "verdict": "not tested: one seed, one utterance"}
    errors = [runs.errors(row, name, seeds) for row in (first, second)]
    options = {"resamples": resamples, "seed": seed}
    if len(seeds) > 1:
        difference = compare_methods(*errors, runs.words[name], **options)
    else:
        difference = compare_models(*(table[0] for table in errors), runs.words[name], **options)
    return {**entry, "about": METHODS if len(seeds) > 1 else MODELS, "difference": difference}
