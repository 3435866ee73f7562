"""Speed-perturbed versions of a training set, and their union with the original."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
Write <out_prefix>_sp<factor> for every factor but 1.0, and their union with the original,
<out_prefix>_sp. Ids become sp<factor>-<id>; no audio is written: the file utt2speed tells the
reader to resample. Factor 1.1 makes speech 1.1 times as fast and its pitch higher, as sox speed."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        DESCRIPTION,
        "python3 -m espnet_sld.bin.speed_perturb --in_dir dump/raw/org/train --out_prefix dump/raw/train",
    )
    parser.add_argument("--in_dir", required=True, help="data directory of the original set")
    parser.add_argument("--out_prefix", required=True, help="path that the results begin with")
    parser.add_argument("--factors", default="0.9 1.0 1.1", help="speed factors, in one argument")
    parser.add_argument("--allow_pipes", type=cli.str2bool, default=False, help="accept commands in wav.scp")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.speed import parse_factors, speed_perturb

    result = speed_perturb(
        args.in_dir, args.out_prefix, parse_factors(args.factors), allow_pipes=args.allow_pipes
    )
    for path, data in result.items():
        print(f"{path}: {len(data)} utterances")
    return 0


if __name__ == "__main__":
    cli.run(main)
