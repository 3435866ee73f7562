"""The table of a model with several tasks: each decoding by the figure of its task."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_json
from espnet_sld.scoring.environment import environment
from espnet_sld.scoring.markdown import counted, markdown_table, number
from espnet_sld.scoring.results_md import is_development

HEADER = (
    "decoding", "set", "utts", "WER %", "words", "BLEU", "right caption %", "CIDEr-D", "MCD dB", "RTF", "cut",
)  # fmt: skip
NOTES = (
    "WER: of the transcript (asr), of the translation or caption against its (closest) reference (st, "
    "caption), of what another recogniser heard in the synthesised speech (tts). BLEU: sacrebleu. Right "
    "caption: names the right class and no other. CIDEr-D: 100 × the mean, 1–4-grams. MCD: mel cepstral "
    "distortion to the recording of the same words, after time warping. RTF: generation alone. cut: ended by "
    "the length bound. Everything is chosen on dev."
)


def task_rows(exp_dir: str | os.PathLike) -> list[Mapping[str, Any]]:
    """All `<tag>/<set>/result.json` of an experiment as they are, by tag, development sets first.

    Raises:
        InputError: there are none.
    """
    paths = sorted(Path(exp_dir).glob("*/*/result.json"))
    if not paths:
        raise InputError(f"{exp_dir}: no <task tag>/<set>/result.json in it; generate and score first")
    rows = [{**read_json(path), "tag": path.parent.parent.name, "set": path.parent.name} for path in paths]
    return sorted(rows, key=lambda row: (row["tag"], not is_development(row["set"]), row["set"]))


def task_table(rows: list[Mapping[str, Any]]) -> str:
    """Markdown, one line a decoding and set."""
    return markdown_table(HEADER, [_cells(row) for row in rows], left=2)


def write_task_results(exp_dir: str | os.PathLike) -> str:
    """Write `<exp_dir>/RESULTS.md`; returns its table. Raises InputError: nothing is scored."""
    exp_dir = Path(exp_dir)
    rows = task_rows(exp_dir)
    table = task_table(rows)
    model = rows[0]
    command = exp_dir / "run.sh"
    parts = [
        f"# Results of `{exp_dir.resolve().name}`",
        table,
        NOTES,
        f"{model.get('model') or 'model'}, {counted(model.get('n_params'))} parameters; one run.",
        "## Command",
        f"```sh\n{command.read_text(encoding='utf-8').strip()}\n```" if command.exists() else "not kept",
        "## Environment",
        markdown_table(("what", "version"), list(environment().items()), left=2),
    ]
    with atomic_write(exp_dir / "RESULTS.md") as stream:
        stream.write("\n\n".join(parts) + "\n")
    return table


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["tag"],
        row["set"],
        counted(row.get("utterances")),
        number(row.get("wer")),
        counted(row.get("ref_words")),
        number(row.get("bleu"), 1),
        number(row.get("class_accuracy"), 1),
        number(row.get("cider"), 1),
        number(row.get("mcd_db"), 2),
        number(row.get("rtf"), 4),
        counted(row.get("truncated")),
    )
