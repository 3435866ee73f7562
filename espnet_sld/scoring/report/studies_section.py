"""Where runs exist: objectives over seeds (Table 1), WER over a swept option (Fig. 2: α), a CTC ablation."""

import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import read_json
from espnet_sld.scoring.contrasts import MODELS
from espnet_sld.scoring.ctc_table import ROWS
from espnet_sld.scoring.report import markup
from espnet_sld.scoring.report.charts import Line, legend, line_chart
from espnet_sld.scoring.report.curves_section import group_name
from espnet_sld.scoring.report.experiment import Experiment
from espnet_sld.scoring.report.results_section import COLUMNS, real_time
from espnet_sld.scoring.runs import Runs, read_runs
from espnet_sld.scoring.study import SWEEPS, Sweep, cell, seeds_of, wer_words
from espnet_sld.scoring.table import LABELS

RUN = re.compile(r"asr_sld_(?P<row>.+)_seed\d+")
CTC_RUN = re.compile(rf"(?P<row>{'|'.join(ROWS)})_seed\d+")


def studies_section(experiments: Sequence[Experiment]) -> str:
    """The studies among a recipe's experiments, one folder of runs at a time; empty if there are none."""
    parts = []
    for pattern, inside in ((RUN, _folder), (CTC_RUN, _ctc_folder)):
        folders: dict[Path, list[Experiment]] = {}
        for experiment in experiments:
            if pattern.fullmatch(experiment.directory.name):
                folders.setdefault(experiment.directory.parent, []).append(experiment)
        for folder, members in folders.items():
            tags = sorted({tag for member in members for tag, _ in member.scored})
            found = [(tag, inside(folder, members, tag)) for tag in tags]
            parts += [f"<h3>{markup.text(f'{folder.name}: {tag}')}</h3>{html}" for tag, html in found if html]
            if pattern is CTC_RUN and len(members) > 1:
                parts += [_contrasts(path) for path in sorted(folder.glob("*.json"))]
    parts.append(_task_groups([one for one in experiments if one.system == "dmlm"]))
    return markup.section("studies", "Studies", *parts) if any(parts) else ""


def _task_groups(experiments: Sequence[Experiment]) -> str:
    """Models with several tasks: the first figure of each task and set, over the seeds of each name."""
    groups: dict[str, list[Experiment]] = {}
    for experiment in experiments:
        groups.setdefault(group_name(experiment.name), []).append(experiment)
    if all(len(members) < 2 for members in groups.values()):
        return ""
    found = dict.fromkeys((key, part.kind.name) for one in experiments for key, part in one.scored.items())
    kinds = list(COLUMNS)
    keys = sorted(found, key=lambda item: kinds.index(item[1]))
    shown = [key for key in keys if any(_figures(members, key) for members in groups.values())]
    body = []
    for name, members in groups.items():
        cells = []
        for key in shown:
            values = _figures(members, key)
            mean = statistics.fmean(values) if values else None
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(("–" if mean is None else f"{mean:.2f}{spread}", mean))
        body.append((markup.text(name), markup.count(len(members)), *cells))
    header = ("experiments", "seeds", *(f"{tag} {part} {COLUMNS[kind][0][0]}" for (tag, part), kind in shown))
    note = "Mean ± standard deviation over seeds, which are all of a name; one seed is one trained model."
    return markup.table(header, body, caption="Over seeds") + markup.paragraph(note, "note")


def _figures(members: Sequence[Experiment], key: tuple[tuple[str, str], str]) -> list[float]:
    """The first figure of one decoded set, of every member that has it."""
    place, kind = key
    cell_of, nothing = COLUMNS[kind][0][1], ((0.0, 0.0), (0.0, 0.0))
    there = [
        one.scored[place] for one in members if place in one.scored and one.scored[place].kind.name == kind
    ]
    values = [cell_of(part.result, nothing)[1] for part in there]
    return [value for value in values if value is not None]


def _ctc_folder(folder: Path, members: Sequence[Experiment], tag: str) -> str:
    """The ablation of arXiv 2401.11700: training losses × sets over seeds, for one way of decoding."""
    there = {CTC_RUN.fullmatch(member.directory.name)["row"] for member in members if _has(member, tag)}
    rows = [row for row in ROWS if row in there]
    sets = list(dict.fromkeys(name for member in members for of, name in member.scored if of == tag))
    if len(members) < 2 or not rows:
        return ""
    try:
        runs = read_runs(folder, rows, sets, run_pattern="{row}_seed{seed}", decode_tag=tag, allow_none=True)
    except InputError as error:
        return markup.paragraph(f"No table: {error}", "problem")
    body = []
    for row in rows:
        cells = [cell(runs, row, name) for name in sets]
        seeds = seeds_of(cells)
        runs_of = [one for one in members if CTC_RUN.fullmatch(one.directory.name)["row"] == row]
        speeds = [_mean_speed(runs_of, tag, speed) for speed in ("rtf", "cpu_rtf")]
        body.append(
            (
                markup.text(row),
                markup.text(ROWS[row]),
                markup.count(len(seeds)),
                *((markup.text(wer_words(values)), values["mean"]) for values in cells),
                *((real_time(value), value) for value in speeds),
            )
        )
    header = ("row", "training loss", "seeds", *(f"{name} WER %" for name in sets), "RTF", "RTF, CPU")
    note = (
        "Mean ± standard deviation over seeds; a row with one seed is a statement about one trained model. "
        "RTF: mean over runs and sets, by the clock and in CPU time, timed wherever they were decoded, "
        "perhaps beside other work."
    )
    return markup.table(header, body, left=2, caption="Training losses") + markup.paragraph(note, "note")


def _mean_speed(members: Sequence[Experiment], tag: str, speed: str) -> float | None:
    """Mean real-time factor over runs and sets; `speed`: which one of `Result`."""
    results = [part.result for one in members for (of, _), part in one.scored.items() if of == tag]
    known = [value for value in (getattr(result, speed) for result in results) if value is not None]
    return statistics.fmean(known) if known else None


def _has(member: Experiment, tag: str) -> bool:
    return any(of == tag for of, _ in member.scored)


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
        seeds = seeds_of(cells)
        body.append(
            (
                markup.text(numeral),
                markup.text(row),
                markup.text(what),
                markup.count(len(seeds)),
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
            markup.count(len(entry.get("seeds", ()))),
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
