"""The decoding of an experiment with the lowest error rate on a development set."""

import argparse
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Print the decode tag with the lowest WER on a set, of equal ones the first; figures go to stderr.",
        "python -m espnet_sld.bin.best_decoding --exp_dir exp/ctc_seed1 --set dev \\\n"
        "    --tags decode_beam_lm_weight_0.2 decode_beam_lm_weight_0.4",
    )
    parser.add_argument("--exp_dir", type=Path, required=True, help="experiment")
    parser.add_argument("--set", default="dev", help="development set: its name begins with dev")
    parser.add_argument("--tags", nargs="+", required=True, help="decode tags to choose from")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Choose, on a development set only."""
    args = get_parser().parse_args(argv)
    import sys

    from espnet_sld.scoring.result import read_result
    from espnet_sld.scoring.results_md import is_development

    if not is_development(args.set):
        raise InputError(f"--set {args.set}: nothing is chosen on a test set; name a development set")
    found = {tag: read_result(args.exp_dir / tag / args.set / "result.json").wer for tag in args.tags}
    best = min(found, key=found.__getitem__)
    for tag, wer in found.items():
        print(f"{tag}: {wer:.2f} % on {args.set}{' (chosen)' if tag == best else ''}", file=sys.stderr)
    print(best)
    return 0


if __name__ == "__main__":
    cli.run(main)
