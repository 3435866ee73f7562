"""Stage 9: RESULTS.md of one experiment."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write <exp_dir>/RESULTS.md from every scored set in it, and print its table.",
        "python -m espnet_sld.bin.results --exp_dir exp/asr_sld_x",
    )
    parser.add_argument("--exp_dir", type=Path, required=True, help="holds <decode_tag>/<set>/result.json")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.scoring.results_md import write_results_md

    print(write_results_md(args.exp_dir))
    print(f"\nwritten: {args.exp_dir / 'RESULTS.md'}")
    return 0


if __name__ == "__main__":
    cli.run(main)
