"""Sort and clean a Kaldi data directory and drop the utterances that cannot be used."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
Rewrite a Kaldi data directory sorted, without doubled ids and stray blanks, and without utterances
that lack audio, transcript or speaker. What is dropped is listed; old files stay in DIR/.backup,
those of an earlier repair in DIR/.backup.1 …"""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(DESCRIPTION, "utils/fix_data_dir data/train --check_audio true")
    parser.add_argument("dir", help="data directory")
    parser.add_argument("--no_text", action="store_true", help="transcripts are not needed")
    parser.add_argument(
        "--allow_pipes", type=cli.str2bool, default=False, help="keep commands in wav.scp (they are run)"
    )
    parser.add_argument(
        "--check_audio", type=cli.str2bool, default=False, help="drop what cannot be decoded to its end"
    )
    parser.add_argument(
        "--min_seconds", type=float, default=0.0, help="drop utterances shorter than this, as heard"
    )
    parser.add_argument(
        "--channels", choices=("mono", "mean"), default="mono", help="mean: more than one may be averaged"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.repair import fix

    repair = fix(
        args.dir,
        text=not args.no_text,
        allow_pipes=args.allow_pipes,
        check_audio=args.check_audio,
        channels=args.channels,
        min_seconds=args.min_seconds,
    )
    print(f"{args.dir}: {repair.summary()}")
    return 0


if __name__ == "__main__":
    cli.run(main)
