"""RESULTS.md of an experiment with several tasks: recognition, synthesis, translation, captions."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write <exp_dir>/RESULTS.md from every scored set of every task in it, and print its table.",
        "python -m espnet_sld.bin.dmlm_results --exp_dir exp/dmlm_x",
    )
    parser.add_argument("--exp_dir", type=Path, required=True, help="holds <task tag>/<set>/result.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.scoring.task_table import write_task_results

    print(write_task_results(args.exp_dir))
    print(f"\nwritten: {args.exp_dir / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
