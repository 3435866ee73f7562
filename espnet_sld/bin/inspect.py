"""Tell in words what a path is: data, tokens, models, and what is in them."""

import argparse
from pathlib import Path

from espnet_sld import cli
from espnet_sld.inference.describe_data import DATA_KINDS
from espnet_sld.inference.describe_models import MODEL_KINDS
from espnet_sld.inference.description import Description, Kind, describe, first_line, number

LARGEST_MIXTURE = 1 << 20  # bytes; a YAML file that is longer is none


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Tell in words what a path is, with counts and an example line: a data directory, unit file, token\n"
        "list, subword model, k-means, experiment, checkpoint, soft labels, mixture, image quantiser, pack.",
        "python -m espnet_sld.bin.inspect data/train dump/raw/train/text.rm.mfcc_km200 exp/asr_sld_demo",
    )
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="what to look at")
    return parser


def _is_mixture(path: Path) -> bool:
    if path.suffix not in (".yaml", ".yml") or not path.is_file() or path.stat().st_size > LARGEST_MIXTURE:
        return False
    return any(line.startswith("train:") for line in path.read_text(encoding="utf-8").splitlines())


def _mixture(path: Path) -> Description:
    from espnet_sld.tasks.mixture_file import read_mixture, task_name

    mixture = read_mixture(path)
    facts = [("tasks", ", ".join(mixture.tasks)), ("specials", " ".join(mixture.specials))]
    for role in ("train", "valid"):
        for entry in mixture.sets(role):
            files = ", ".join(f"{field} {file}" for field, file in entry.files.items())
            missing = [file for file in entry.files.values() if not Path(file).is_file()]
            state = f"; not there: {', '.join(missing)}" if missing else f"; {_lines(entry.files)} utterances"
            facts.append((f"{role} {entry.name}", f"{task_name(entry.template)}, weight {entry.weight:g}: "
                          f"{files}{state}"))  # fmt: skip
    first = next(iter(mixture.train[0].files.values()))
    example = first_line(Path(first)) if Path(first).is_file() else ""
    return Description("a mixture of data sets for training", facts, example)


def _lines(files: dict[str, str]) -> str:
    with Path(next(iter(files.values()))).open("rb") as stream:
        return number(sum(1 for _ in stream))


# An experiment may hold what looks like another kind, so the most telling tests come first.
KINDS = (*MODEL_KINDS[:5], Kind("mixture", _is_mixture, _mixture), *DATA_KINDS, *MODEL_KINDS[5:])


def main(argv: list[str] | None = None) -> int:
    """Describe every path."""
    args = get_parser().parse_args(argv)
    for path in args.paths:
        print("\n".join(describe(path, KINDS).lines(path)))
    return 0


if __name__ == "__main__":
    cli.run(main)
