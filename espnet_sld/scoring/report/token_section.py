"""How units are used, how long sequences are before and after the subword model, and what padding costs.

Of SLD's models, and of CTC models on units; those of several modalities are in `mixture_section`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.scoring.markdown import counted, number
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.experiment import Experiment, read_optional_json
from espnet_sld.scoring.report.mixture_section import mixture_section
from espnet_sld.scoring.report.token_charts import (
    count_units,
    count_words,
    histogram,
    padding_words,
    read_lengths,
    use_chart,
)


def token_section(experiment: Experiment) -> str:
    """Statistics of one experiment's tokens; empty if its data is not found."""
    data = experiment.config.get("train_data_path_and_name_and_type") or []
    shapes = experiment.config.get("train_shape_file") or []
    if experiment.recipe is None:
        return ""
    if experiment.mixture:
        return mixture_section(experiment)
    files = {item[1]: item[0] for item in data}
    if experiment.system == "ctc":
        return _ctc_section(experiment, files)
    if not (data and shapes):
        return ""
    speech = files.get("speech", data[0][0])
    stats_dir = experiment.path(shapes[0]).parent
    stats = read_optional_json(stats_dir / "length_stats.json")
    units, lengths = count_units(experiment.path(speech), experiment.config.get("num_clusters"))
    tokens = read_lengths(stats_dir / "speech_shape")
    charts = _unit_charts(units, lengths, "Units an utterance, before SentencePiece")
    if tokens is not None:
        charts.append(histogram("Speech tokens an utterance, as the model reads them", tokens))
    return _section(experiment, speech, charts, _length_rows(stats), lengths)


def _ctc_section(experiment: Experiment, files: dict[str, str]) -> str:
    """A CTC model: what its encoder reads, and how many words it has to put into how many frames."""
    config, rows, charts = experiment.config, [], []
    speech, text = files.get("speech"), files.get("text")
    words = lengths = None
    if text:
        words, text_lengths = count_words(experiment.path(text))
        if words:
            rows.append(
                (
                    "words of the transcripts",
                    f"{counted(words.total())}, {counted(len(words))} different",
                )
            )
            rows.append(("words an utterance", _spread_of(text_lengths)))
    if speech and config.get("input", "units") == "units":
        units, lengths = count_units(experiment.path(speech), config.get("num_clusters"))
        charts = _unit_charts(units, lengths, "Units an utterance")
        if lengths is not None and len(lengths):
            rows.insert(0, ("utterances counted", counted(len(lengths))))
            factor = int(config.get("unit_subsampling") or 1)
            rows.append(("units an utterance", _spread_of(lengths)))
            said = f"{lengths.mean() / factor:.1f} on average (unit_subsampling {factor}"
            kind = config.get("speech_token_type")
            rows.append(
                ("encoder frames an utterance", f"{said}{'' if kind == 'unit' else ', before ' + str(kind)})")
            )
    elif speech:
        rows.append(("input", "filter banks of the recordings: no units"))
    if config.get("target_vocabulary"):
        rows.append(("output vocabulary, with blank", counted(config["target_vocabulary"])))
    rows += _teacher_rows(experiment)
    return _section(
        experiment, speech or "", charts, rows, lengths, units=config.get("input", "units") == "units"
    )


def _teacher_rows(experiment: Experiment) -> list[tuple[str, str]]:
    """What the teacher's labels know of the transcripts, from the report beside them (stage 6)."""
    labels = experiment.config.get("soft_labels")
    if not labels:
        return []
    rows = [("teacher's soft labels", str(labels))]
    path = experiment.path(f"{labels}.report.json")
    report = read_optional_json(path)
    for name, values in report.items():
        where = "training transcripts" if name == "all" else Path(name).parent.name
        if not isinstance(values, dict) or "pseudo_perplexity" not in values:
            continue
        rows.append(
            (
                f"teacher on {where}",
                f"pseudo-perplexity {values['pseudo_perplexity']:.2f}, entropy of its labels "
                f"{values['entropy']:.3f} nats, the right token among them at "
                f"{100 * values['references_in_top_k']:.1f} % of the places",
            )
        )
    return rows


def _unit_charts(units: np.ndarray | None, lengths: np.ndarray | None, title: str) -> list[str]:
    if units is None:
        return []
    return [use_chart("Unit use", units, "units"), histogram(title, lengths)]


def _section(
    experiment: Experiment,
    speech: str,
    charts: list[str],
    rows: list[tuple[str, str]],
    lengths: np.ndarray | None,
    units: bool = True,
) -> str:
    """Table, charts, and stage 5's report."""
    report, path = find_unit_report(experiment, Path(speech)) if units else ({}, None)
    if padding := padding_words(experiment):
        rows.append(("padding in training batches", padding))
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
        f"<div class=charts>{''.join(charts)}</div>" if charts else "",
        markup.paragraph(counted_words, "note") if units else "",
        _unit_report(report, path) if units else "",
    )


def _spread(shortest: int, longest: int, mean: float) -> str:
    return f"{shortest} to {longest}, {mean:.1f} on average"


def _spread_of(lengths: np.ndarray) -> str:
    return _spread(lengths.min(), lengths.max(), lengths.mean())


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
            spread = _spread(values["min"], values["max"], values["mean"])
            rows.append((f"length of {kind}, tokens", spread))
    if stats.get("speech_tokens_per_second"):
        rows.append(("speech tokens a second of audio", number(stats["speech_tokens_per_second"])))
    rows.append(("utterances cut to max_positions", counted(stats.get("cut_utterances"))))
    rows.append(("unknown units, unknown text tokens",
                 f"{counted(stats.get('unknown_units'))}, {counted(stats.get('unknown_text'))}"))  # fmt: skip
    return rows


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
                markup.count(values["utterances"]),
                *(markup.count(part["count"]) for part in (before, after, tokens)),
                *((number(part["per_second"], 1), part["per_second"]) for part in (before, after, tokens)),
                (number(before["entropy_bits"]), before["entropy_bits"]),
                markup.count(values["dead_cluster_count"]),
                markup.count(values["positions"]["over"]),
            )
        )
    header = ("set", "utterances", "units", "de-duplicated", "tokens", "units/s", "de-dup./s", "tokens/s",
              "entropy, bits", "dead clusters", f"over {report['max_positions']}")  # fmt: skip
    return markup.table(header, rows, caption="Unit use of every set (stage 5)")
