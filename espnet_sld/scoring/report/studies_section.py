"""Where runs exist: the objectives over seeds (Table 1) and WER over a swept option (Fig. 2: α)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.scoring.contrasts import MODELS
from espnet_sld.scoring.markdown import counted
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.charts import Line, legend, line_chart
from espnet_sld.scoring.report.experiment import Experiment
from espnet_sld.scoring.result import read_json
from espnet_sld.scoring.runs import Runs, read_runs
from espnet_sld.scoring.study import SWEEPS, Sweep, cell, wer_words
from espnet_sld.scoring.table import LABELS

RUN = re.compile(r"asr_sld_(?P<row>.+)_seed\d+")


def studies_section(experiments: Sequence[Experiment]) -> str:
    """The studies among a recipe's experiments, one folder of runs at a time; empty if there are none."""
    folders: dict[Path, list[Experiment]] = {}
    for experiment in experiments:
        if RUN.fullmatch(experiment.directory.name):
            folders.setdefault(experiment.directory.parent, []).append(experiment)
    parts = []
    for folder, members in folders.items():
        tags = {tag for member in members for tag, _ in member.scored}
        for tag in sorted(tags):
            inside = _folder(folder, members, tag)
            if inside:
                parts.append(f"<h3>{markup.text(folder.name)}: {markup.text(tag)}</h3>{inside}")
    return markup.section("studies", "Studies", *parts) if parts else ""


def _folder(folder: Path, members: Sequence[Experiment], tag: str) -> str:
    rows = list(dict.fromkeys(RUN.fullmatch(member.directory.name)["row"] for member in members))
    sets = list(dict.fromkeys(name for member in members for of, name in member.scored if of == tag))
    try:
        runs = read_runs(folder, rows, sets, decode_tag=tag, allow_none=True)
    except InputError as error:
        return markup.paragraph(f"No table: {error}", "problem")
    objectives = [row for row in LABELS if row in rows]
    parts = [_table(runs, objectives, sets)] if len(objectives) > 1 else []
    parts += [_contrasts(path) for path in sorted(folder.glob("*.json"))] if parts else []
    for sweep in SWEEPS.values():
        parts.append(_sweep(runs, members, rows, sets, sweep))
    return "".join(parts)


def _table(runs: Runs, objectives: Sequence[str], sets: Sequence[str]) -> str:
    """Table 1's layout: objectives × sets, mean ± standard deviation over seeds."""
    body = []
    for row in objectives:
        numeral, what = LABELS[row]
        cells = [cell(runs, row, name) for name in sets]
        seeds = sorted({seed for values in cells for seed in values["seeds"]})
        body.append(
            (
                markup.text(numeral),
                markup.text(row),
                markup.text(what),
                (counted(len(seeds)), len(seeds)),
                *((markup.text(wer_words(values)), values["mean"]) for values in cells),
            )
        )
    header = ("row", "objective", "what", "seeds", *(f"{name} WER %" for name in sets))
    note = (
        "Rows of Table 1 of arXiv 2311.04534 where they have a numeral. Mean ± standard deviation over "
        "seeds; a row with one seed is a statement about one trained model."
    )
    return markup.table(header, body, left=3, caption="Objectives") + markup.paragraph(note, "note")


def _contrasts(path: Path) -> str:
    """Declared contrasts that `bin.table` or `bin.study` computed, from the JSON beside their table."""
    try:
        entries = read_json(path).get("contrasts")
    except InputError:
        return ""
    if not isinstance(entries, list) or not entries or not isinstance(entries[0], Mapping):
        return ""
    body = []
    for entry in entries:
        difference: dict[str, Any] | None = entry.get("difference")
        about = "these models" if entry.get("about") == MODELS else "methods"
        first = (
            markup.text(entry.get("set", "–")),
            markup.text(f"{entry.get('first')} – {entry.get('second')}"),
            markup.text(entry.get("verdict", "–")),
            markup.text(about),
            (counted(len(entry.get("seeds", ()))), len(entry.get("seeds", ()))),
        )
        if difference is None:
            body.append((*first, ("–", None), ("–", None), ("–", None)))
            continue
        low, high = difference["interval95"]
        bound = "≤ " if difference["p_is_bound"] else ""
        body.append(
            (
                *first,
                (f"{difference['delta']:+.2f}", difference["delta"]),
                (f"[{low:+.2f}, {high:+.2f}]", low),
                (f"{bound}{entry['p_holm']:.4f}", entry["p_holm"]),
            )
        )
    header = ("set", "contrast", "the first is", "about", "seeds", "ΔWER", "95 % interval", "Holm p")
    return markup.table(header, body, left=4, caption=f"Declared contrasts, from {path.name}")


def _sweep(
    runs: Runs, members: Sequence[Experiment], rows: Sequence[str], sets: Sequence[str], sweep: Sweep
) -> str:
    """WER over the option's values; the run `sld` has the value of its own configuration."""
    start = f"sld_{sweep.option}"
    values: dict[str, float] = {}
    for row in rows:
        try:
            values[row] = float(row.removeprefix(start)) if row.startswith(start) else values[row]
        except (KeyError, ValueError):
            continue
    if not values:
        return ""
    own = next((one for one in members if RUN.fullmatch(one.directory.name)["row"] == "sld"), None)
    if own is not None:
        values["sld"] = float((own.config.get("criterion_conf") or {}).get(sweep.option, sweep.default))
    order = sorted(values, key=values.__getitem__)
    lines, levels, entries = [], [], []
    for place, name in enumerate(sets):
        cells = {row: cell(runs, row, name) for row in order}
        known = [row for row in order if cells[row]["mean"] is not None]
        colour = (5, 4, 3, 6)[place % 4]
        means = [cells[row]["mean"] for row in known]
        lines.append(Line(name, [values[row] for row in known], means, colour))
        entries.append((f"SLD, {name}", colour, "solid"))
        if "none" in rows and (reference := cell(runs, "none", name)["mean"]) is not None:
            levels.append((f"loss masking, {name}", reference, colour))
            entries.append((f"loss masking, {name}", colour, "dashed"))
    ticks = [values[row] for row in order]
    chart = line_chart(
        sweep.title, lines, x_label=sweep.symbol, y_label="WER %", log_x=True, x_ticks=ticks, levels=levels
    )
    body = [
        (
            (f"{values[row]:g}", values[row]),
            *(
                (markup.text(wer_words(cell(runs, row, name))), cell(runs, row, name)["mean"])
                for name in sets
            ),
        )
        for row in order
    ]
    table = markup.table((sweep.symbol, *(f"{name} WER %" for name in sets)), body, left=0)
    return f"<div class=charts>{chart}<div>{legend(entries)}{table}</div></div>"
