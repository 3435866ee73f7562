"""How units are used, how long sequences are before and after the subword model, and what padding costs."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.scoring.markdown import counted, number
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.charts import Line, bar_chart, line_chart
from espnet_sld.scoring.report.experiment import Experiment, read_optional_json

FIRST_UNIT = 0x4E00  # chr(0x4E00 + id) is a unit's character
LINES = 20_000  # utterances of the training set that are counted
BINS = 24


def token_section(experiment: Experiment) -> str:
    """Statistics of one experiment's tokens; empty if its data is not found."""
    data = experiment.config.get("train_data_path_and_name_and_type") or []
    shapes = experiment.config.get("train_shape_file") or []
    if experiment.recipe is None or not (data and shapes):
        return ""
    speech = next((item[0] for item in data if item[1] == "speech"), data[0][0])
    stats_dir = experiment.path(shapes[0]).parent
    stats = read_optional_json(stats_dir / "length_stats.json")
    report, path = find_unit_report(experiment, Path(speech))
    units, lengths = count_units(experiment.path(speech), experiment.config.get("num_clusters"))
    tokens = read_lengths(stats_dir / "speech_shape")
    charts = []
    if units is not None:
        used = np.sort(units)[::-1]
        share = 100.0 * np.cumsum(used) / max(used.sum(), 1)
        ranks = np.unique(np.linspace(1, len(used), min(len(used), 200)).astype(int))
        line = Line("units", ranks.tolist(), share[ranks - 1].tolist(), 5, markers=False)
        title = f"Unit use: {int((units > 0).sum())} of {len(units)} units occur"
        charts.append(
            line_chart(title, [line], x_label="most frequent units", y_label="% of all units", zero=True)
        )
        charts.append(_histogram("Units an utterance, before SentencePiece", lengths))
    if tokens is not None:
        charts.append(_histogram("Speech tokens an utterance, as the model reads them", tokens))
    padding = experiment.curves.get("train", {}).get("padding")
    rows = _length_rows(stats)
    if padding is not None:
        share = float(np.nanmean(padding.values))
        last = float(padding.values[-1])
        rows.append(("padding in training batches", f"{share:.2f} % on average, {last:.2f} % at the end"))
    if not (charts or rows or report):
        return ""
    counted_words = (
        f"Charts: the first {counted(len(lengths))} utterances of {speech}."
        if lengths is not None
        else f"{speech} is not there any more, or no unit text: no chart of unit use."
    )
    body = [(markup.text(name), markup.text(value)) for name, value in rows]
    return markup.section(
        "tokens",
        "Tokens",
        markup.table(("training set", "value"), body, left=2) if body else "",
        f"<div class=charts>{''.join(charts)}</div>",
        markup.paragraph(counted_words, "note"),
        _unit_report(report, path),
    )


def count_units(path: Path, num_clusters: Any) -> tuple[np.ndarray | None, np.ndarray | None]:
    """How often units occur (K,), units an utterance (U,), of the first utterances; None for other data."""
    if not path.is_file():
        return None, None
    counts = np.zeros(int(num_clusters or 0) or 1, np.int64)
    lengths = []
    with path.open(encoding="utf-8") as stream:
        for line in islice(stream, LINES):
            units = line.rstrip("\n").partition(" ")[2].replace(" ", "")
            ids = np.frombuffer(units.encode("utf-32-le"), np.uint32).astype(np.int64) - FIRST_UNIT
            if ids.size and ids.min() < 0:  # another kind of data
                return None, None
            found = np.bincount(ids, minlength=len(counts))
            found[: len(counts)] += counts
            counts = found
            lengths.append(ids.size)
    return counts, np.array(lengths, np.int64)


def read_lengths(path: Path) -> np.ndarray | None:
    """The first lengths of a shape file (`utt length[,…]`), or None without it."""
    if not path.is_file():
        return None
    with path.open(encoding="utf-8") as stream:
        values = [int(line.split()[1].partition(",")[0]) for line in islice(stream, LINES)]
    return np.array(values, np.int64)


def find_unit_report(experiment: Experiment, speech: Path) -> tuple[dict[str, Any], Path | None]:
    """Stage 5's report of the units that this experiment reads (`text.<case>.<suffix>`), if it is there."""
    case, _, suffix = speech.name.removeprefix("text.").partition(".")
    kind = experiment.config.get("speech_token_type")
    roots = dict.fromkeys(experiment.path(folder) for folder in (experiment.directory.parent, "exp"))
    for root in roots:
        path = root / "unit_report" / f"{case}_{kind}_{suffix}" / "report.json"
        if path.is_file():
            return read_optional_json(path), path
    return {}, None


def _length_rows(stats: dict[str, Any]) -> list[tuple[str, str]]:
    if not stats:
        return []
    utterances = max(int(stats["utterances"]), 1)
    rows = [("utterances", counted(utterances))]
    if stats.get("units"):
        units, tokens = int(stats["units"]), int(stats["speech"]["total"])
        rows.append(("units an utterance, before SentencePiece", f"{units / utterances:.1f} on average"))
        single = (stats.get("speech_tokenizer") or {}).get("type") == "unit"
        rows.append(
            (
                "speech tokens an utterance, after it" + (" (not used: single units)" if single else ""),
                f"{tokens / utterances:.1f} on average ({tokens / units:.3f} of the units)",
            )
        )
    for kind in ("speech", "text", "sequence"):
        values = stats.get(kind)
        if values:
            words = f"{values['min']} to {values['max']}, {values['mean']:.1f} on average"
            rows.append((f"length of {kind}, tokens", words))
    if stats.get("speech_tokens_per_second"):
        rows.append(("speech tokens a second of audio", number(stats["speech_tokens_per_second"])))
    rows.append(("utterances cut to max_positions", counted(stats.get("cut_utterances"))))
    rows.append(("unknown units, unknown text tokens",
                 f"{counted(stats.get('unknown_units'))}, {counted(stats.get('unknown_text'))}"))  # fmt: skip
    return rows


def _histogram(title: str, lengths: np.ndarray) -> str:
    if not len(lengths):
        return ""
    edges = np.unique(
        np.linspace(lengths.min(), lengths.max() + 1, min(BINS, np.ptp(lengths) + 1) + 1).astype(int)
    )
    heights, _ = np.histogram(lengths, edges)
    bars = [(str(edge), int(height)) for edge, height in zip(edges[:-1], heights, strict=True)]
    mean = f"mean {lengths.mean():.1f}, longest {lengths.max()}"
    return bar_chart(title, bars, x_label="length", y_label=mean)


def _unit_report(report: dict[str, Any], path: Path | None) -> str:
    """Stage 5's figures for every set."""
    if not report:
        return markup.paragraph(
            "No report of unit use (exp/unit_report, stage 5) was found for these units.", "note"
        )
    rows = []
    for name, values in report["sets"].items():
        before, after, tokens = values["units_ts"], values["units_rm"], values["tokens"]
        rows.append(
            (
                markup.text(name),
                *(
                    (counted(count), count)
                    for count in (values["utterances"], before["count"], after["count"], tokens["count"])
                ),
                *((number(part["per_second"], 1), part["per_second"]) for part in (before, after, tokens)),
                (number(before["entropy_bits"]), before["entropy_bits"]),
                (counted(values["dead_cluster_count"]), values["dead_cluster_count"]),
                (counted(values["positions"]["over"]), values["positions"]["over"]),
            )
        )
    header = ("set", "utterances", "units", "de-duplicated", "tokens", "units/s", "de-dup./s", "tokens/s",
              "entropy, bits", "dead clusters", f"over {report['max_positions']}")  # fmt: skip
    return markup.table(header, rows, caption="Unit use of every set (stage 5)")
