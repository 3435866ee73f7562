"""The unit report for people: Markdown tables, and the lengths as bars of text."""

from collections.abc import Sequence
from typing import Any

BAR = 20  # characters of a bin that has all utterances


def markdown(report: dict[str, Any]) -> str:
    """`unit_report.unit_report`'s dictionary as a page."""
    sets, limit = report["sets"], report["max_positions"]
    parts = [
        f"# Units {report['suffix']}\n",
        f"{report['num_clusters']} clusters; tokens: {_tokenizer(report['tokenizer'])} over units of case "
        f"{report['unit_case']} (ts: every frame, rm: equal neighbours removed). Entropies in bits.\n",
        _table(
            [
                "set",
                "utterances",
                "hours",
                "clusters never used",
                "entropy ts",
                "entropy rm",
                "entropy tokens",
            ],
            [
                [
                    name,
                    use["utterances"],
                    _number(use["seconds"] and use["seconds"] / 3600),
                    f"{use['dead_cluster_count']} of {report['num_clusters']}",
                    *(_number(use[key]["entropy_bits"]) for key in ("units_ts", "units_rm", "tokens")),
                ]
                for name, use in sets.items()
            ],
        ),
        _table(
            ["set", "ts", "ts/s", "rm", "rm/s", "tokens", "tokens/s", "pieces used", "unknown"],
            [
                [
                    name,
                    *(
                        value
                        for key in ("units_ts", "units_rm", "tokens")
                        for value in (use[key]["count"], _number(use[key]["per_second"]))
                    ),
                    f"{use['tokens']['used']} of {report['tokenizer']['size']}",
                    use["tokens"]["unknown"],
                ]
                for name, use in sets.items()
            ],
        ),
        f"## Positions of a sequence ({report['template']})\n",
        _table(
            ["set", "mean", "median", "99 %", "longest", f"over {limit}", "share"],
            [_lengths(name, use["positions"]) for name, use in sets.items()],
        ),
    ]
    alone = [name for name, use in sets.items() if not use["positions"]["transcripts"]]
    if alone:
        parts.append(f"Without transcripts, units and special tokens only: {', '.join(alone)}.\n")
    parts += [_histogram(name, use["positions"], use["utterances"]) for name, use in sets.items()]
    return "\n".join(parts)


def _tokenizer(description: dict[str, Any]) -> str:
    return f"{description['type']} of {description['size']} ids"


def _lengths(name: str, positions: dict[str, Any]) -> list[object]:
    values = [positions[key] for key in ("median", "p99", "max", "over")]
    return [name, _number(positions["mean"], 1), *values, f"{100 * positions['over_share']:.3f} %"]


def _histogram(name: str, positions: dict[str, Any], utterances: int) -> str:
    rows = []
    for first, last, count in positions["histogram"]:
        share = count / max(1, utterances)
        span = f"{first}–{last}" if last else f"{first} and more"
        rows.append([span, count, f"{100 * share:.2f} %", "█" * -int(-BAR * share // 1)])
    while rows and rows[-1][1] == 0:
        rows.pop()
    return f"### {name}\n\n" + _table(["positions", "utterances", "share", ""], rows, left=(0, 3))


def _table(header: Sequence[str], rows: Sequence[Sequence[object]], left: Sequence[int] = (0,)) -> str:
    """A Markdown table; columns `left` are aligned left, the others right."""
    cells = [[str(value) for value in row] for row in [header, *rows]]
    widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if column in left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(cells[0]), line(rule), *map(line, cells[1:]), ""])


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
