"""An ablation's table: rows × tasks over seeds, each task by its own figure, and the declared contrasts."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from espnet_sld.errors import InputError
from espnet_sld.files import read_json, read_table
from espnet_sld.scoring.ablation_rows import AblationRow
from espnet_sld.scoring.captions import count_classes
from espnet_sld.scoring.contrasts import contrast_parts, contrast_rows
from espnet_sld.scoring.environment import code_words
from espnet_sld.scoring.markdown import markdown_table, number
from espnet_sld.scoring.result import read_result
from espnet_sld.scoring.results_md import is_development
from espnet_sld.scoring.runs import Runs, SetRun, read_runs, run_directories

CAPTIONS = "captions of {}"  # what a contrast of captions calls its set
FIGURES = {"asr": ("wer",), "st": ("wer", "bleu"), "caption": ("class_accuracy",)}
HEADINGS = {"wer": "WER %", "bleu": "BLEU", "class_accuracy": "right captions %"}
DIGITS = {"wer": 2, "bleu": 1, "class_accuracy": 1}


@dataclass(frozen=True)
class Wanted:
    """What the table reads: task → sets, the name of the loss file or None, the runs' names."""

    sets: Mapping[str, Sequence[str]]
    loss: str | None = None  # <run>/losses/<loss>.json of bin.task_losses
    pattern: str = "dmlm_{row}_seed{seed}"


def build_ablation_table(
    runs_dir: Path,
    rows: Sequence[AblationRow],
    pairs: Sequence[tuple[str, str]],
    wanted: Wanted,
    *,
    labels: str | None = None,
    margin: float = 1.0,
    resamples: int = 10_000,
    seed: int = 0,
) -> dict[str, Any]:
    """Everything that the rendered table says, as JSON values. Rates in percent, losses in nats a token.

    Contrasts are on the first test set of recognition (WER) and that of captions (rate of those that do not
    name the right class alone), of rows that were both trained for the task.

    Args:
        pairs: declared contrasts (first, second). labels: file of the image classes, `{}` stands for the set.

    Raises:
        InputError: nothing was scored, results are damaged, or runs were scored against other references.
    """
    table: dict[str, Any] = {"rows": {}, "contrasts": [], "loss": wanted.loss}
    for row in rows:
        found = run_directories(runs_dir, wanted.pattern, row.name)
        table["rows"][row.name] = {
            "what": row.what,
            "options": list(row.options),
            "seeds": sorted(found),
            "figures": {task: _figures(found, task, wanted.sets.get(task, ()), row) for task in FIGURES},
            "losses": _losses(found, wanted.loss),
        }
    chosen = {"margin": margin, "resamples": resamples, "seed": seed}
    tests = {
        task: [name for name in names if not is_development(name)] for task, names in wanted.sets.items()
    }
    git: set[str] = set()
    for task, measured in (("asr", _recognition), ("caption", _captions)):
        able = [row.name for row in rows if task in row.tasks]
        both = [pair for pair in pairs if set(pair) <= set(able)]
        if task == "caption" and labels is None:
            continue
        for name in tests.get(task, ())[:1]:
            runs = measured(runs_dir, able, name, wanted.pattern, labels)
            git.update(runs.revisions())
            shown = name if task == "asr" else CAPTIONS.format(name)
            table["contrasts"] += [
                {**entry, "set": shown} for entry in contrast_rows(runs, both, name, **chosen)
            ]
    table |= {"git": sorted(git), "settings": chosen}
    return table


def _figures(found: Mapping[int, Path], task: str, sets: Sequence[str], row: AblationRow) -> dict[str, Any]:
    """Set → figure → seed by seed; empty for a task that the row was not trained for."""
    figures: dict[str, Any] = {}
    for name in sets if task in row.tasks else ():
        paths = {seed: directory / task / name / "result.json" for seed, directory in found.items()}
        results = {seed: read_json(path) for seed, path in paths.items() if path.is_file()}
        for values in results.values():  # BLEU counts four words in a row
            if values.get("ref_words", 0) < 2 * values.get("utterances", 0):
                values.pop("bleu", None)
        figures[name] = {
            figure: _spread({seed: values.get(figure) for seed, values in results.items()})
            for figure in FIGURES[task]
        }
    return figures


def _losses(found: Mapping[int, Path], name: str | None) -> dict[str, Any]:
    """Modality → cross entropy, seed by seed; empty where a run's model was not trained for the task."""
    if name is None:
        return {}
    paths = {seed: directory / "losses" / f"{name}.json" for seed, directory in found.items()}
    values = {seed: read_json(path)["ce"] for seed, path in paths.items() if path.is_file()}
    kinds = sorted({kind for each in values.values() for kind in each})
    return {kind: _spread({seed: each.get(kind) for seed, each in values.items()}) for kind in kinds}


def _spread(values: Mapping[int, float | None]) -> dict[str, Any]:
    known = {seed: value for seed, value in sorted(values.items()) if value is not None}
    numbers = list(known.values())
    return {
        "seeds": list(known),
        "values": numbers,
        "mean": statistics.fmean(numbers) if numbers else None,
        "sd": statistics.stdev(numbers) if len(numbers) > 1 else None,
    }


def _recognition(runs_dir: Path, rows: Sequence[str], name: str, pattern: str, labels: str | None) -> Runs:
    return read_runs(runs_dir, rows, [name], run_pattern=pattern, decode_tag="asr")


def _captions(runs_dir: Path, rows: Sequence[str], name: str, pattern: str, labels: str | None) -> Runs:
    """Captions as sentences of one word: 1 error where another class than the image's is named, or none."""
    label_of = read_table(str(labels).replace("{}", name))
    images = sorted(label_of, key=str.encode)
    scored, missing = {}, {}
    for row in rows:
        done, lacking = {}, []
        for seed, directory in run_directories(runs_dir, pattern, row).items():
            out = directory / "caption" / name
            if not (out / "result.json").is_file():
                lacking.append(seed)
                continue
            said = read_table(out / "text", allow_empty_value=True)
            if set(said) != set(images):
                raise InputError(f"{out}/text: other images than in the labels; generate and score it again")
            wrong = [1 - count_classes([said[i]], [label_of[i]], label_of.values()).right for i in images]
            result = read_result(out / "result.json")
            accuracy = result.extra.get("class_accuracy")
            if accuracy is None or abs(accuracy - 100.0 * (1.0 - sum(wrong) / len(wrong))) > 1e-3:
                raise InputError(f"{out}: result.json and the captions disagree; score that set again")
            done[seed] = SetRun(100.0 - accuracy, np.array(wrong), result.n_params, result.git)
        scored[row, name], missing[row, name] = done, lacking
    return Runs(scored, missing, {name: np.ones(len(images), dtype=np.int64)})


def render_ablation_table(table: Mapping[str, Any]) -> str:
    """The table as markdown: mean ± standard deviation over seeds, then the contrasts with what they mean."""
    rows = table["rows"]
    columns = list(
        dict.fromkeys(
            (task, name, figure)
            for row in rows.values()
            for task, sets in row["figures"].items()
            for name, figures in sets.items()
            for figure in figures
            if figure != "bleu" or figures[figure]["values"]  # single words have none
        )
    )
    kinds = list(dict.fromkeys(kind for row in rows.values() for kind in row["losses"]))
    header = [
        "row",
        "what",
        "seeds",
        *(f"{task} {name} {HEADINGS[figure]}" for task, name, figure in columns),
    ]
    header += [f"{table['loss']}: {kind} nats" for kind in kinds]
    body = []
    for name, row in rows.items():
        line = [f"`{name}`", row["what"], seed_words(row["seeds"])]
        for task, of_set, figure in columns:
            line.append(
                _words(row["figures"][task].get(of_set, {}).get(figure), row["seeds"], DIGITS[figure])
            )
        line += [_words(row["losses"].get(kind), row["seeds"], 3) for kind in kinds]
        body.append(line)
    note = "Mean ± standard deviation over the seeds; a dash: not trained for that, or not run."
    if kinds:
        note += f" `{table['loss']}`: cross entropy on that set, nats a token of the modality."
    note = f"{note} {code_words(table['git'])}".rstrip()
    parts = [markdown_table(header, body, left=2), note]
    if contrasts := contrast_parts(table):
        parts += [*contrasts, "Of captions, it is the share of wrong ones that is compared in WER's place."]
    return "\n\n".join(parts) + "\n"


def seed_words(seeds: Sequence[int]) -> str:
    """`0–4` for consecutive seeds, else all of them."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds)) or "–"


def _words(values: Mapping[str, Any] | None, seeds: Sequence[int], digits: int) -> str:
    if not values or values["mean"] is None:
        return "–"
    text = number(values["mean"], digits)
    if values["sd"] is not None:
        text += f" ± {number(values['sd'], digits)}"
    return text if values["seeds"] == list(seeds) else f"{text} (seeds {seed_words(values['seeds'])})"
