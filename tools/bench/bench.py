"""Measure each step against what a user would otherwise run, side by side, and print one table.

Every row first checks that both sides give the same result; then they are timed alternately and the
medians are shown. `make bench` runs all rows on one thread and writes tools/bench/results.json. A new
row is a function `(repeats, **sizes) -> Row` and one line in ROWS.
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
    """A row: its function's module, and sizes that only try it out."""

    module: str
    tiny: dict[str, int]


ROWS: dict[str, Bench] = {
    "objective_time": Bench("rows_training", {"utterances": 2, "width": 16, "speech_vocabulary": 200}),
    "padding": Bench("rows_training", {"utterances": 2000}),
    "kmeans": Bench("rows_units", {"frames": 3000, "clusters": 16}),
    "assignment": Bench("rows_units", {"utterances": 2, "frames": 50, "clusters": 30}),
    "decode_hf1": Bench("rows_decoding", {"utterances": 3, "width": 32, "layers": 2}),
    "scoring": Bench("rows_scoring", {"utterances": 60}),
    "startup": Bench("rows_scoring", {}),
}


def measure(name: str, repeats: int, *, tiny: bool = False) -> Any:
    """The `measure.Row` of one row id. Raises AssertionError where the results are not the peer's."""
    bench = ROWS[name]
    function = getattr(importlib.import_module(bench.module), name)
    return function(repeats, **(bench.tiny if tiny else {}))


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
    parser.add_argument("--tiny", action="store_true", help="sizes that only try the rows out")
    parser.add_argument("--output", type=Path, help="JSON file; default: results.json beside this file "
                        "for a run of all rows at full size, else none")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    if args.repeats < 1:
        raise SystemExit("error: --repeats must be at least 1")
    output = args.output
    if output is None and not args.rows and not args.tiny:
        output = HERE / "results.json"
    rows, failed = [], False
    for name in args.rows or ROWS:
        start = time.perf_counter()
        try:
            rows.append(measure(name, args.repeats, tiny=args.tiny))
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
