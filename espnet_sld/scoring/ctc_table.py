"""The ablation of arXiv 2401.11700: training losses × sets over seeds, speed, and declared contrasts."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from espnet_sld.scoring.contrasts import contrast_parts, contrast_rows
from espnet_sld.scoring.environment import code_words
from espnet_sld.scoring.markdown import counted, markdown_table, number
from espnet_sld.scoring.result import read_result
from espnet_sld.scoring.results_md import is_development
from espnet_sld.scoring.runs import Runs, read_runs, run_directories
from espnet_sld.scoring.study import cell, count_words, seeds_of, wer_words

ROWS = {
    "ctc": "CTC",
    "interctc": "intermediate CTC",
    "aed": "with a decoder at the last layer",
    "aed_kd": "with a decoder at the last layer, taught: conventional KD",
    "interaed": "with decoders at intermediate layers too",
    "interaed_kd": "with decoders at intermediate layers too, taught: interAED-KD",
    "ctc_kd": "taught at the CTC's peaks",
}
BEAM = "ctc_beam"  # the models of row `ctc`, decoded by beam search with the LM
BEAM_LABEL = "CTC, beam search with the LM"


def read_ctc_runs(
    runs_dir: Path,
    rows: Sequence[str],
    sets: Sequence[str],
    *,
    run_pattern: str = "{row}_seed{seed}",
    decode_tag: str = "decode_greedy",
    beam_tag: str | None = None,
) -> Runs:
    """Runs of all rows decoded as `decode_tag`; with `beam_tag` also row `ctc_beam`: `ctc` decoded so.

    Raises:
        InputError: see `read_runs`; the beam's references are compared with the others' too.
    """
    runs = read_runs(runs_dir, rows, sets, run_pattern=run_pattern, decode_tag=decode_tag)
    if beam_tag is None:
        return runs
    beam = read_runs(runs_dir, ["ctc"], sets, run_pattern=run_pattern, decode_tag=beam_tag, allow_none=True)
    scored, missing = dict(runs.scored), dict(runs.missing)
    for name in sets:
        scored[BEAM, name] = beam.scored["ctc", name]
        missing[BEAM, name] = beam.missing["ctc", name] if beam.scored["ctc", name] else []  # not asked for
    return Runs(scored, missing, {**beam.words, **runs.words})


class Speed(NamedTuple):
    """Real-time factors: seconds a second of audio, None if not known.

    Attributes:
        wall: of time that passed. cpu: of the CPU time of all threads; for decoding on a CPU alone.
    """

    wall: float | None
    cpu: float | None


def speeds(
    runs_dir: Path, rows: Sequence[str], tags: Mapping[str, str], name: str, run_pattern: str
) -> dict[str, dict[str, Speed]]:
    """Row → heading → speed on the set `name`, the mean over the seeds that have it.

    Args:
        tags: heading → decode tag.
    """
    found: dict[str, dict[str, Speed]] = {}
    for row in rows:
        directories = run_directories(runs_dir, run_pattern, row).values()
        found[row] = {}
        for heading, tag in tags.items():
            paths = [directory / tag / name / "result.json" for directory in directories]
            results = [read_result(path) for path in paths if path.is_file()]
            results = [result for result in results if result.rtf is not None]
            measured = [result.rtf for result in results], [result.cpu_rtf for result in results]
            found[row][heading] = Speed(*map(_mean_of_all, measured))
    return found


def _mean_of_all(values: Sequence[float | None]) -> float | None:
    return statistics.fmean(values) if values and None not in values else None


def build_ctc_table(
    runs: Runs,
    rows: Sequence[str],
    sets: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    speed: Mapping[str, Mapping[str, Speed]],
    *,
    speed_set: str,
    margin: float = 0.5,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the rendered table says, as JSON values. WER in percent.

    Args:
        rows: `ctc_beam` among them, if it is wanted. pairs: declared contrasts (first, second), on test sets.
        speed: row → heading → `Speed`, see `speeds`. `rtf` of the table is by CPU time where all have it,
            which other work on the machine hardly changes, else by wall time; `clock` says which.
    """
    measured = [pair for of_row in speed.values() for pair in of_row.values() if pair.wall is not None]
    clock = "cpu" if measured and all(pair.cpu is not None for pair in measured) else "wall"
    contrasts = []
    for name in sets:
        if is_development(name):  # everything was chosen on it
            continue
        contrasts += contrast_rows(runs, pairs, name, margin=margin, resamples=resamples, seed=seed)
    table: dict[str, Any] = {"rows": {}, "contrasts": contrasts, "speed_set": speed_set, "clock": clock}
    for row in rows:
        done = [run for name in sets for run in runs.scored[row, name].values()]
        table["rows"][row] = {
            "label": BEAM_LABEL if row == BEAM else ROWS.get(row, row),
            "sets": {name: cell(runs, row, name) for name in sets},
            "parameters": sorted({run.n_params for run in done if run.n_params is not None}),
            "rtf": {heading: getattr(pair, clock) for heading, pair in speed.get(row, {}).items()},
            "rtf_wall": {heading: pair.wall for heading, pair in speed.get(row, {}).items()},
        }
    table["git"] = runs.revisions()
    table["settings"] = {"margin": margin, "resamples": resamples, "seed": seed}
    return table


def render_ctc_table(table: Mapping[str, Any]) -> str:
    """The table as markdown: error rates with their counts, parameters at inference, speed, contrasts."""
    rows = table["rows"]
    sets = list(next(iter(rows.values()))["sets"])
    headings = list(dict.fromkeys(heading for values in rows.values() for heading in values["rtf"]))
    header = ["row", "what", "seeds"] + [f"{name} WER %" for name in sets]
    header += ["parameters"] + [f"RTF, {heading}" for heading in headings]
    body, counts = [], []
    for row, values in rows.items():
        seeds = seeds_of(values["sets"].values())
        line = [f"`{row}`", values["label"], ", ".join(map(str, seeds)) or "–"]
        line += [wer_words(each) for each in values["sets"].values()]
        line.append(" or ".join(map(counted, values["parameters"])) or "–")
        line += [number(values["rtf"].get(heading), 5) for heading in headings]
        body.append(line)
        counts.append([f"`{row}`", *map(count_words, values["sets"].values())])
    note = "WER: mean ± standard deviation over the seeds. Parameters: at inference, decoders gone"
    note += " (the beam's LM comes on top)." if BEAM in rows else "."
    if headings:
        clock = "CPU seconds of all threads" if table["clock"] == "cpu" else "seconds that passed"
        note += (
            f" RTF: {clock} in decoding a second of audio on `{table['speed_set']}`, from unit text or sound"
            " file to words, models loaded before."
        )
    note = f"{note} {code_words(table['git'])}".rstrip()
    parts = [markdown_table(header, body, left=2), note, _ratios(rows)]
    parts += ["## Errors", markdown_table(["row", *(f"{name}: errors of words" for name in sets)], counts)]
    parts += contrast_parts(table)
    return "\n\n".join(part for part in parts if part) + "\n"


def _ratios(rows: Mapping[str, Any]) -> str:
    """How many times slower the beam is than greedy decoding of the same models."""
    beam = [value for value in rows.get(BEAM, {"rtf": {}})["rtf"].values() if value]
    if not beam or "ctc" not in rows:
        return ""
    greedy = {heading: value for heading, value in rows["ctc"]["rtf"].items() if value}
    if not greedy:
        return ""
    said = ", ".join(f"{beam[0] / value:.1f} × ({heading})" for heading, value in greedy.items())
    return f"Greedy decoding of the `ctc` models is faster than their beam search by {said}."
