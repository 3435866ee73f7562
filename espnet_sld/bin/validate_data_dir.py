"""Check a Kaldi data directory and name everything that is wrong with it."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
Check a Kaldi data directory: files sorted in C order, unique ids, audio, transcript and speaker for
every utterance, audio files on disk. All problems are told at once; exit 1 if there are any."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(DESCRIPTION, "utils/validate_data_dir data/train --check_audio true")
    parser.add_argument("dir", help="data directory")
    parser.add_argument("--no_text", action="store_true", help="transcripts are not needed")
    parser.add_argument(
        "--allow_pipes", type=cli.str2bool, default=False, help="accept commands in wav.scp (they are run)"
    )
    parser.add_argument(
        "--check_audio", type=cli.str2bool, default=False, help="decode every recording to its end"
    )
    parser.add_argument(
        "--channels", choices=("mono", "mean"), default="mono", help="mean: more than one may be averaged"
    )
    parser.add_argument("--fs", type=int, help="sampling rate in Hz that every recording must have")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.repair import validate

    data = validate(
        args.dir,
        text=not args.no_text,
        allow_pipes=args.allow_pipes,
        check_audio=args.check_audio,
        expected_rate=args.fs,
        channels=args.channels,
    )
    print(f"{args.dir}: {len(data)} utterances of {len(set(data.utt2spk.values()))} speakers, no problems")
    return 0


if __name__ == "__main__":
    cli.run(main)
