"""What a recipe is expected to need: hours, memory and disk by formula."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path

from espnet_sld import cli

WHOLE_WORDS = {"break_long_words": False, "break_on_hyphens": False}
COMMAND = "python -m espnet_sld.bin.hardware"


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Print, as Markdown, the hours, memory and disk that every stage is expected to need: derived from\n"
        "counted FLOPs and bytes and from stated rates, not measured. Lists are separated by commas. The\n"
        "defaults give docs/hardware.md.",
        f"{COMMAND} --hours 960 --speeds 3 --gpus 1,4,8 --gpu H100 --assume network=1e9 \\\n"
        "    extract_precision=tf32",
    )
    parser.add_argument("--hours", default="960,60000", help="hours of training audio before perturbation")
    parser.add_argument(
        "--speeds", default="3", help="1 (none), 3 (0.9, 1.0, 1.1), or the factors, e.g. 0.9,1.0,1.1"
    )
    parser.add_argument("--gpus", default="1,4,8", help="numbers of GPUs in the machine")
    parser.add_argument("--gpu", default="A100,H100", help="kinds: A100, H100, H200")
    parser.add_argument(
        "--assume", nargs="*", default=[], metavar="NAME=VALUE", help="other inputs; the document lists them"
    )
    parser.add_argument("--out", type=Path, help="write there instead of printing")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    text = render(args.hours, args.speeds, args.gpus, args.gpu, args.assume)
    if args.out:
        from espnet_sld.files import atomic_write

        with atomic_write(args.out) as stream:
            stream.write(text)
    else:
        print(text, end="")
    return 0


def render(hours: str, speeds: str, gpus: str, gpu: str, assume: list[str]) -> str:
    """The document as Markdown.

    Raises:
        InputError: not numbers, an unknown GPU, or an unknown assumption.
    """
    from espnet_sld.errors import InputError
    from espnet_sld.models.costs.assumptions import GPUS, Assumptions
    from espnet_sld.models.costs.report import document
    from espnet_sld.models.costs.stages import Plan
    from espnet_sld.scoring.markdown import markdown_table

    kinds = gpu.split(",")
    if unknown := [name for name in kinds if name not in GPUS]:
        raise InputError(f"--gpu {unknown[0]}: must be of {', '.join(GPUS)}")
    factors = {"1": [1.0], "3": [0.9, 1.0, 1.1]}.get(speeds) or _numbers("--speeds", speeds)
    given = Assumptions().having(cli.key_values(assume))
    plans = [Plan(value, factors, given) for value in _numbers("--hours", hours)]
    counts = _numbers("--gpus", gpus)
    if any(count != int(count) or count < 1 for count in counts):
        raise InputError(f"--gpus {gpus}: expected whole numbers from 1")
    options = f" --hours {hours} --speeds {speeds} --gpus {gpus} --gpu {gpu}"
    options += f" --assume {' '.join(assume)}" if assume else ""
    parts = []
    for section in document(plans, [GPUS[name] for name in kinds], [int(count) for count in counts]):
        parts.append(f"{'#' * section.level} {section.title}")
        if section.level == 1:
            parts.append(f"Made by `{COMMAND}{options}`; do not edit by hand.")
        parts += _paragraphs(section.before)
        if section.rows:
            parts.append(markdown_table(section.header, section.rows, left=section.left))
        parts += _paragraphs(section.after)
    return "\n\n".join(parts) + "\n"


def _paragraphs(lines: Sequence[str]) -> list[str]:
    """Wrapped; bullets stay together, other lines are paragraphs."""
    result: list[str] = []
    for line in lines:
        indent = "  " if line.startswith("- ") else ""
        line = textwrap.fill(" ".join(line.split()), 118, subsequent_indent=indent, **WHOLE_WORDS)
        if line.startswith("- ") and result and result[-1].startswith("- "):
            result[-1] += "\n" + line
        else:
            result.append(line)
    return result


def _numbers(option: str, text: str) -> list[float]:
    from espnet_sld.errors import InputError

    try:
        values = [float(item) for item in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(0 < value < float("inf") for value in values):
        raise InputError(f"{option} {text}: expected positive numbers separated by commas")
    return values


if __name__ == "__main__":
    cli.run(main)
