"""Make the embedded default corpus: short spoken commands and numbers, synthesised by espeak-ng."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
Synthesise the embedded corpus as Kaldi data directories of 16 kHz wavs:
train, dev and test by the training voices, test_voices by voices held out.
No sentence is shared between train, dev and the tests. Run again to continue after a kill."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(DESCRIPTION, "python3 -m espnet_sld.bin.prepare_mini --data_dir data --nj 2")
    parser.add_argument("--data_dir", default="data", help="where the sets are written")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--num_train", type=int, default=2400, help="training utterances")
    parser.add_argument("--num_dev", type=int, default=200, help="development utterances")
    parser.add_argument("--num_test", type=int, default=340, help="test utterances, training voices")
    parser.add_argument("--num_test_voices", type=int, default=150, help="test utterances, other voices")
    parser.add_argument("--nj", type=int, default=1, help="processes")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.statistics import table
    from espnet_sld.corpus.synthetic import SETS, prepare

    counts = {name: getattr(args, f"num_{name}") for name in SETS}
    print(table(prepare(args.data_dir, counts, seed=args.seed, nj=args.nj)))
    return 0


if __name__ == "__main__":
    cli.run(main)
