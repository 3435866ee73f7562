"""`RESULTS.md` of one experiment: where, with which code and commands, and what came out."""

import os
from collections.abc import Sequence
from pathlib import Path

from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write
from espnet_sld.scoring.environment import environment
from espnet_sld.scoring.markdown import counted, markdown_table, number
from espnet_sld.scoring.result import Result, read_result

HEADER = ("decoding", "set", "WER %", "S", "I", "D", "words", "utts", "CER %", "RTF", "loops", "cut")
ALL_TESTS = "all test sets"


def read_results(exp_dir: str | os.PathLike) -> list[Result]:
    """All `<decode_tag>/<set>/result.json` of an experiment, development sets first in each decoding.

    Raises:
        InputError: there are none.
    """
    exp_dir = Path(exp_dir)
    paths = sorted(exp_dir.glob("*/*/result.json"))
    if not paths:
        raise InputError(f"{exp_dir}: no <decode_tag>/<set>/result.json in it; decode and score a set first")
    results = [read_result(path) for path in paths]
    return sorted(results, key=lambda result: (result.decode_tag, not is_development(result.set), result.set))


def is_development(name: str) -> bool:
    """Sets that everything is chosen on: their names start with `dev`."""
    return name.startswith("dev")


def results_table(results: Sequence[Result]) -> str:
    """Sets × decodings with counts; a decoding of several test sets gets their total."""
    rows = []
    for tag in dict.fromkeys(result.decode_tag for result in results):
        decoded = [result for result in results if result.decode_tag == tag]
        rows += [_row(result) for result in decoded]
        tests = [result for result in decoded if not is_development(result.set)]
        if len(tests) > 1:
            rows.append(_row(_total(tests)))
    return markdown_table(HEADER, rows, left=2)


def write_results_md(exp_dir: str | os.PathLike) -> str:
    """Write `<exp_dir>/RESULTS.md` and return the table in it.

    Raises:
        InputError: no decoding is scored.
    """
    exp_dir = Path(exp_dir)
    results = read_results(exp_dir)
    table = results_table(results)
    name = exp_dir.resolve().name
    parts = [
        f"# Results of `{name}`",
        table,
        "WER and CER in percent of the reference; S, I, D: substituted, inserted, deleted words. RTF: time "
        "to decode over time of audio. loops: hypotheses that repeat themselves; cut: hypotheses ended by "
        "the length bound. Everything is chosen on `dev`.",
        "## Model",
        _model(results),
        "## Commands",
        _commands(exp_dir),
        "## Environment",
        markdown_table(("what", "version"), list(environment().items()), left=2),
    ]
    with atomic_write(exp_dir / "RESULTS.md") as stream:
        stream.write("\n\n".join(parts) + "\n")
    return table


def _row(result: Result) -> tuple[str, ...]:
    return (
        result.decode_tag,
        result.set,
        number(result.wer),
        *(counted(count) for count in (result.sub, result.ins, result.deletions)),
        counted(result.ref_words),
        counted(result.utterances),
        number(result.cer),
        number(result.rtf, 4),
        counted(result.loops),
        counted(result.truncated),
    )


def _total(results: Sequence[Result]) -> Result:
    """The counts of several sets added up; unknown where one set lacks them."""

    def added(name: str) -> float | None:
        values = [getattr(result, name) for result in results]
        return None if any(value is None for value in values) else sum(values)

    first = results[0]
    counts = {
        name: added(name)
        for name in (
            "hits", "sub", "ins", "deletions", "ref_words", "utterances", "ref_chars", "char_errors",
            "sentence_errors", "audio_seconds", "decode_seconds", "loops", "truncated",
        )
    }  # fmt: skip
    errors = counts["sub"] + counts["ins"] + counts["deletions"]
    audio, seconds = counts["audio_seconds"], counts["decode_seconds"]
    return Result(
        set=ALL_TESTS,
        decode_tag=first.decode_tag,
        wer=100.0 * errors / counts["ref_words"],
        cer=100.0 * counts["char_errors"] / counts["ref_chars"],
        rtf=seconds / audio if audio and seconds is not None else None,
        **counts,
    )


def _model(results: Sequence[Result]) -> str:
    rows = []
    for title, name in (
        ("objective", "objective"),
        ("model", "model"),
        ("parameters", "n_params"),
        ("seed", "seed"),
        ("checkpoint", "checkpoint"),
        ("git revision", "git"),
    ):
        values = dict.fromkeys(getattr(result, name) for result in results)
        shown = (
            counted(value) if name == "n_params" else "–" if value is None else str(value) for value in values
        )
        rows.append((title, ", ".join(shown)))
    return markdown_table(("what", "value"), rows, left=2)


def _commands(exp_dir: Path) -> str:
    lines = []
    script = exp_dir / "run.sh"
    if script.is_file():
        text = script.read_text(encoding="utf-8").rstrip()
        lines.append(f"The command of this experiment (`run.sh`):\n\n```sh\n{text}\n```")
    else:
        lines.append("There is no `run.sh` here: the experiment was not started by a recipe.")
    if (exp_dir / "config.yaml").is_file():
        lines.append("All training options are in [`config.yaml`](config.yaml).")
    return "\n\n".join(lines)
