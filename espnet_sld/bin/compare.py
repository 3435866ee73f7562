"""Compare two decodings of one set."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Paired bootstrap over sentences of two scored decodings of one set. It tests two trained models;\n"
        "a statement about methods needs runs over seeds: espnet_sld.bin.table.",
        "python -m espnet_sld.bin.compare --first exp/asr_sld_a/decode_greedy/test \\\n"
        "    --second exp/asr_sld_b/decode_greedy/test",
    )
    parser.add_argument("--first", type=Path, required=True, help="scored set: …/<decode_tag>/<set>")
    parser.add_argument("--second", type=Path, required=True, help="the same set by the other model")
    parser.add_argument("--margin", type=float, default=0.5, help="equivalence margin, WER points")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", type=Path, help="also write the comparison as JSON")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.scoring.comparison import compare_sets, render_comparison, write_comparison

    comparison = compare_sets(
        args.first, args.second, margin=args.margin, resamples=args.resamples, seed=args.seed
    )
    print(render_comparison(comparison))
    if args.out:
        write_comparison(args.out, comparison)
    return 0


if __name__ == "__main__":
    cli.run(main)
