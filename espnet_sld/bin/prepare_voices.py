"""Digits in synthetic voices, as a Kaldi data directory."""

import argparse

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Speak single digits by espeak-ng voices that no recipe trains on, as <data_dir>/<name>:\n"
        "a test set out of the domain of recorded digits. Run again to continue after a kill.",
        "python3 -m espnet_sld.bin.prepare_voices --data_dir data",
    )
    parser.add_argument("--data_dir", default="data", help="where the set is written")
    parser.add_argument("--name", default="voices", help="of the set")
    parser.add_argument("--per_digit", type=int, default=5, help="how often a voice says each digit")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.spoken_digits import prepare_digits
    from espnet_sld.corpus.statistics import table

    data = prepare_digits(args.data_dir, args.name, per_digit=args.per_digit, seed=args.seed)
    print(table({args.name: data}))
    return 0


if __name__ == "__main__":
    cli.run(main)
