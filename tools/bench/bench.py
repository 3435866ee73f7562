"""Measure each step against what a user would otherwise run, side by side, and print one table.

Every row first checks that both sides give the same result; then they are timed alternately and the
medians are shown. `make bench` runs all rows on one thread and writes tools/bench/results.json, `make
bench-gpu` those of a GPU, and writes results_gpu.json. A new row is a function `(repeats, **sizes) -> Row`
and one line in ROWS.
"""

import argparse
import dataclasses
import importlib
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
LIBRARIES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Bench(NamedTuple):
    """A row: its function's module, sizes that only try it out, and those of a GPU (None: not run there)."""

    module: str
    tiny: dict[str, Any]
    gpu: dict[str, Any] | None = None


SMALL_LOSS = {"utterances": 2, "width": 16, "text_vocabulary": 50, "speech_vocabulary": 200}
GPU_LOSS = {"utterances": 8, "width": 1024, "dtype": "bfloat16"}
GPU_DECODING = {"utterances": 64, "width": 1024, "layers": 24}
ROWS: dict[str, Bench] = {
    "objective_time": Bench("rows_training", SMALL_LOSS, {**GPU_LOSS, "bar": 6.0}),
    "objective_time_1024": Bench("rows_training", SMALL_LOSS),
    "objective_memory": Bench("rows_training", SMALL_LOSS, GPU_LOSS),
    "train_tokens": Bench(
        "rows_steps",
        {**SMALL_LOSS, "layers": 1, "heads": 2},
        {
            "utterances": 128,
            "width": 1024,
            "layers": 24,
            "heads": 16,
            "text_vocabulary": 50_257,
            "bar": 10.0,
            "half": True,
        },
    ),
    "espnet_path": Bench("rows_steps", {"utterances": 20, "width": 32, "layers": 1}),
    "padding": Bench("rows_training", {"utterances": 2000}),
    "units": Bench(
        "rows_extraction",
        {"utterances": 2, "seconds": 1.0, "width": 32, "layers": 3, "layer": 2, "clusters": 20},
        {"utterances": 64, "seconds": 12.0, "width": 1024, "layers": 24, "layer": 21, "bar": 10.0},
    ),
    "units_short": Bench(
        "rows_extraction",
        {"utterances": 4, "width": 32, "layers": 3, "layer": 2, "clusters": 20},
    ),
    "kmeans": Bench("rows_units", {"frames": 3000, "clusters": 16}),
    "assignment": Bench("rows_units", {"utterances": 2, "frames": 50, "clusters": 30}),
    "decode_released": Bench(
        "rows_decoding", {"utterances": 1, "width": 32, "layers": 1}, {**GPU_DECODING, "utterances": 4}
    ),
    "decode_hf1": Bench("rows_decoding", {"utterances": 3, "width": 32, "layers": 2}, GPU_DECODING),
    "decode_hf_batched": Bench(
        "rows_decoding", {"utterances": 3, "width": 32, "layers": 2, "batch": 2}, GPU_DECODING
    ),
    "scoring": Bench("rows_scoring", {"utterances": 60}),
    "startup": Bench("rows_scoring", {}),
    "growth": Bench("rows_scale", {"small": 50, "large": 500}),
}


def measure(name: str, repeats: int, *, tiny: bool = False, device: str | None = None) -> Any:
    """The `measure.Row` of one row id; on `device` with the sizes for a GPU, None = a CPU with its own.

    Raises:
        AssertionError: the results are not the peer's.
    """
    bench = ROWS[name]
    function = getattr(importlib.import_module(bench.module), name)
    sizes = {} if device is None else {**(bench.gpu or {}), "device": device}
    return function(repeats, **{**sizes, **(bench.tiny if tiny else {})})


def table(rows: Sequence[Any]) -> str:
    """A Markdown table, aligned, and what each row is."""
    head = ("step", "ours", "peer", "unit", "ratio", "range", "bar", "of limit", "against")
    cells = [head, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = {1, 2, 4, 5, 6, 7}

    def line(row: Sequence[str]) -> str:
        padded = [
            c.rjust(w) if i in numeric else c.ljust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if i in numeric else "-") for i, w in enumerate(widths)) + "|"
    notes = [f"- `{row.step}`: {row.description}." for row in rows]
    machines = [f"Machine: {name}." for name in dict.fromkeys(row.machine for row in rows)]
    return "\n".join([line(head), rule, *map(line, cells[1:]), "", *notes, "", *machines])


def _cells(row: Any) -> tuple[str, ...]:
    met = "" if row.ratio >= row.bar else " (below)"
    low, high = row.ratio_range
    limit = "" if row.limit_share is None else f"{100 * row.limit_share:.0f} %"
    values = (_short(row.ours), _short(row.peer_value), row.unit, _short(row.ratio))
    return (row.step, *values, f"{_short(low)}–{_short(high)}", f"{row.bar:g}{met}", limit, row.peer)


def _short(value: float) -> str:
    """Three digits, never in powers of ten."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def get_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n", 1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--rows", nargs="+", choices=ROWS, metavar="ROW", help=f"only these of: {' '.join(ROWS)}"
    )
    parser.add_argument("--repeats", type=int, default=3, help="pairs of measurements of a row")
    parser.add_argument("--gpu", nargs="?", const="cuda", metavar="DEVICE", help="the rows of a GPU, at its "
                        "sizes; they need torch, transformers and numpy alone")  # fmt: skip
    parser.add_argument("--tiny", action="store_true", help="sizes that only try the rows out")
    parser.add_argument("--output", type=Path, help="JSON file; default: results.json (--gpu: "
                        "results_gpu.json) beside this one, for all rows in full; else none")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    if args.repeats < 1:
        raise SystemExit("error: --repeats must be at least 1")
    output = args.output
    if output is None and not args.rows and not args.tiny:
        output = HERE / ("results_gpu.json" if args.gpu else "results.json")
    chosen = [name for name in args.rows or ROWS if not args.gpu or ROWS[name].gpu]
    rows, failed = [], False
    for name in chosen:
        start = time.perf_counter()
        try:
            rows.append(measure(name, args.repeats, tiny=args.tiny, device=args.gpu))
        except AssertionError as error:
            failed = True
            print(f"bench: {name} FAILED its check: {error}", file=sys.stderr)
        else:
            print(f"bench: {name} took {time.perf_counter() - start:.0f} s", file=sys.stderr)
    if rows:
        print(table(rows))
    if output is not None and not failed:
        text = json.dumps([dataclasses.asdict(row) for row in rows], indent=1, ensure_ascii=False)
        output.write_text(text + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    os.environ.update(dict.fromkeys(LIBRARIES, "1"))  # before numpy and torch load
    sys.exit(main())
