"""What a stage of a recipe made, in one line; for the drivers in egs/TEMPLATE."""

import argparse

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Print what there is in the files that a stage writes last: how many sets, utterances, units,\n"
        "tokens, epochs, error rates, how much speech, and whether they are new. With --state true only a\n"
        "line for each file, which changes when it is written anew: for --before, after the stage.",
        "python3 -m espnet_sld.bin.stage_summary --files dump/raw/*/mfcc_km200.done.json",
    )
    parser.add_argument("--files", nargs="*", default=[], metavar="FILE", help="files; `*`: any names")
    parser.add_argument("--before", default="", help="the files' state before the stage")
    parser.add_argument("--seconds", type=int, help="how long it took; the line then begins with it")
    parser.add_argument("--state", type=cli.str2bool, default=False, help="print the files' state")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.scoring.stage_summary import duration, state, summary

    if args.state:
        print(state(args.files))
        return 0
    took = "" if args.seconds is None else f"in {duration(args.seconds)}: "
    print(took + summary(args.files, args.before))
    return 0


if __name__ == "__main__":
    cli.run(main)
