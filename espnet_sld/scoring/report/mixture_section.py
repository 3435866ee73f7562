"""Tokens of a model of several modalities: data sets, lengths, padding, and which tokens each one uses."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.scoring.markdown import counted
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.experiment import Experiment, read_optional_json
from espnet_sld.scoring.report.recipe_files import FIELDS, entries
from espnet_sld.scoring.report.token_charts import (
    LINES,
    add_counts,
    count_ids,
    count_units,
    count_words,
    histogram,
    padding_words,
    read_lengths,
    use_chart,
)

MODALITIES = ("text", "speech", "image")
COLOURS = {"text": 4, "speech": 5, "image": 3}
SHOWN = 6  # histograms of data sets


def mixture_section(experiment: Experiment) -> str:
    """Data sets with lengths and weights, then a chart of use and of lengths for each modality."""
    stats_dir = experiment.path(str(experiment.config.get("mixture_stats") or ""))
    found = {
        entry["name"]: read_optional_json(stats_dir / "train" / str(entry["name"]) / "length_stats.json")
        for entry in entries(experiment.mixture, "train")
    }
    charts, notes = _use(experiment)
    shapes: dict[bytes, tuple[np.ndarray, list[str]]] = {}
    for name in found:
        values = read_lengths(stats_dir / "train" / str(name) / "sequence_shape")
        if values is not None and len(values):  # tasks with the same data have the same lengths: one chart
            shapes.setdefault(np.sort(values).tobytes(), (values, []))[1].append(str(name))
    lengths = [
        histogram(f"Tokens of {', '.join(names)}", values) for values, names in list(shapes.values())[:SHOWN]
    ]
    table = _table(experiment, found)
    if not (charts or lengths or table):
        return ""
    if padding := padding_words(experiment):
        notes.append(f"Padding in training batches: {padding}.")
    return markup.section(
        "tokens",
        "Tokens",
        table,
        markup.paragraph(" ".join(notes), "note"),
        f"<div class=charts>{''.join(charts)}</div>" if charts else "",
        f"<h3>Lengths</h3><div class=charts>{''.join(lengths)}</div>" if lengths else "",
    )


def _table(experiment: Experiment, found: Mapping[str, dict[str, Any]]) -> str:
    """A row for every training data set."""
    sizes = experiment.config.get("vocabulary") or {}
    with_images = bool(sizes.get("image"))
    rows = []
    for entry in entries(experiment.mixture, "train"):
        stats = found[entry["name"]]
        task = str(stats.get("task_name") or entry.get("task") or "unlabelled")
        weight = float(entry.get("weight", 1.0))
        portion = entry.get("portion", 1)
        rows.append(
            (
                markup.text(entry["name"]),
                markup.text(task),
                (f"{weight:g}", weight),
                (markup.text(portion), None if isinstance(portion, list) else float(portion)),
                markup.count(stats.get("utterances")),
                *(
                    _length(_of(stats, kind))
                    for kind in ("sequence", *MODALITIES)
                    if kind != "image" or with_images
                ),
                _length(stats.get("target")),
                markup.count(stats.get("cut_utterances")),
                _unknown(stats),
            )
        )
    if not rows:
        return ""
    header = ["data set", "task", "weight", "portion", "items", "sequence", "text", "speech",
              *(["image"] if with_images else []), "target", "cut", "unknown"]  # fmt: skip
    return markup.table(header, rows, left=2, caption="Training data sets") + markup.paragraph(
        "Weight: passes over the data set in one over the mixture. Lengths in tokens: mean, and in brackets "
        "smallest and largest. Cut: items shortened to max_positions; unknown: tokens out of the vocabulary.",
        "note",
    )


def _use(experiment: Experiment) -> tuple[list[str], list[str]]:
    """Charts of use and lengths for every modality, over the files of the training sets; and notes."""
    config, sizes = experiment.config, experiment.config.get("vocabulary") or {}
    files: dict[str, dict[str, None]] = {kind: {} for kind in MODALITIES}
    for entry in entries(experiment.mixture, "train"):
        for field in FIELDS:
            if entry.get(field):
                files["text" if field == "target_text" else field][str(entry[field])] = None
    charts, notes, missing = [], [], []
    words: Counter[str] = Counter()
    lengths: list[np.ndarray] = []
    for path in files["text"]:
        counts, each = count_words(experiment.path(path))
        words.update(counts)
        lengths.append(each)
        missing += [] if len(each) else [path]
    if words:
        kind = str(config.get("text_token_type"))
        of = int(sizes.get("text", 0)) if kind == "word" else len(words)
        charts.append(
            use_chart("Text", np.array(list(words.values())), "words", COLOURS["text"], max(of, len(words)))
        )
        charts.append(histogram("Words a text", np.concatenate(lengths)))
        if kind != "word":
            notes.append(f"The model reads text as {kind} tokens; words are counted here.")
    for kind, what in (("speech", "units"), ("image", "tokens")):
        total, lengths = None, []
        size = config.get("num_clusters") if kind == "speech" else sizes.get("image")
        for path in files[kind]:
            counter = count_units if kind == "speech" else count_ids
            counts, each = counter(experiment.path(path), size)
            if counts is None:
                missing.append(path)
                continue
            total = counts if total is None else add_counts(total, counts)
            lengths.append(each)
        if total is not None:
            charts.append(use_chart("Speech" if kind == "speech" else "Images", total, what, COLOURS[kind]))
            each = np.concatenate(lengths)
            item = "an utterance" if kind == "speech" else "an image"
            if np.ptp(each):
                charts.append(histogram(f"{what.capitalize()} {item}", each))
            else:
                notes.append(f"{int(each[0])} {what} {item}, always.")
    named = ", ".join(str(Path(path)) for path in missing)
    sized = ", ".join(f"{counted(sizes[kind])} of {kind}" for kind in MODALITIES if sizes.get(kind))
    if sized:
        notes.insert(0, f"Vocabulary: {sized}, and {len(sizes.get('specials') or ())} special tokens.")
    if charts:
        notes.append(f"Charts: each training file once, its first {counted(LINES)} lines at most.")
    if missing:
        notes.append(f"Not there any more, or of another layout: {named}.")
    return charts, notes


def _of(stats: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """Lengths of one kind; a translation is text too."""
    return stats.get(kind) or (stats.get("target_text") if kind == "text" else None)


def _length(values: Mapping[str, Any] | None) -> tuple[str, float | None]:
    if not values or not values.get("max"):
        return "–", None
    inside = f"[{values['min']}, {values['max']}]"
    return f"{values['mean']:.1f} <span class=interval>{inside}</span>", float(values["mean"])


def _unknown(stats: Mapping[str, Any]) -> tuple[str, int | None]:
    known = [int(value) for key, value in stats.items() if key.startswith("unknown_")]
    return markup.count(sum(known) if known else None)
