"""Make data directories of the Free Spoken Digit Dataset: isolated digits and digit strings."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
Real recorded digits as Kaldi data directories of 16 kHz wavs. Five speakers: recordings 0-4 are
test_isolated, test_strings and test_strings_once (each recording in one string), 5-9 dev, the rest
train; the sixth speaker is test_speaker. Strings are 1-5 digits of one speaker with short silences.
--order trigram: strings of 5-8 digits whose order follows a peaked grammar, with test_trigram and, as a
control with uniform digits, test_uniform; --order control: uniform digits in train and dev as well.
Run again to continue after a kill."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        DESCRIPTION, "python3 -m espnet_sld.bin.prepare_fsdd --fsdd_dir ~/corpora/free-spoken-digit-dataset"
    )
    parser.add_argument("--fsdd_dir", help="folder with recordings/; not given: cloned from its repository")
    parser.add_argument("--download_dir", default="downloads", help="where the clone goes")
    parser.add_argument("--data_dir", default="data", help="where the sets are written")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument(
        "--order",
        choices=("uniform", "trigram", "control"),
        default="uniform",
        help="of the digits in strings",
    )
    parser.add_argument("--num_train_strings", type=int, default=5000, help="strings in train")
    parser.add_argument("--num_dev_strings", type=int, default=400, help="strings in dev")
    parser.add_argument("--num_test_strings", type=int, default=600, help="strings in a test set of strings")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus import fsdd
    from espnet_sld.corpus.statistics import table

    fsdd_dir = args.fsdd_dir or fsdd.clone(args.download_dir)
    counts = {name: getattr(args, f"num_{name}_strings") for name in ("train", "dev", "test")}
    print(table(fsdd.prepare(fsdd_dir, args.data_dir, counts, seed=args.seed, order=args.order)))
    if args.order == "trigram":
        from espnet_sld.corpus.digit_grammar import conditional_perplexity, grammar, perplexity

        print(
            f"trigram strings: exact perplexity {perplexity(grammar()):.3f} a digit, the first two (uniform) "
            f"included; {conditional_perplexity():.3f} given the two before. Uniform digits: 10"
        )
    return 0


if __name__ == "__main__":
    cli.run(main)
