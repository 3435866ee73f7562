"""Tell whether a dump directory keeps ESPnet asr2's file contract."""

import argparse
import sys
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Check that ESPnet asr2's stages from the token lists on can read what tokenize.sh wrote: unit\n"
        "texts, transcripts, labels, token lists, SentencePiece models. All problems are told at once;\n"
        "exit 1 if there are any.",
        "utils/check_asr2_compat dump --token_dir data/token_list --kmeans_dir exp/kmeans",
    )
    parser.add_argument("dump_dir", type=Path, help="holds raw/ and extracted/")
    parser.add_argument("--token_dir", type=Path, default=Path("data/token_list"), help="token lists")
    parser.add_argument("--kmeans_dir", type=Path, default=Path("exp/kmeans"), help="has the character list")
    parser.add_argument("--lang", default="en", help="language in the transcripts' names")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.tokens.asr2_contract import check_contract

    findings = check_contract(args.dump_dir, args.token_dir, args.kmeans_dir, args.lang)
    print("\n".join(f"looked at {line}" for line in findings.checked))
    for problem in findings.problems:
        print(f"error: {problem}", file=sys.stderr)
    if findings.problems:
        print(f"{args.dump_dir}: {len(findings.problems)} breaches of asr2's contract", file=sys.stderr)
        return 1
    print(f"{args.dump_dir}: keeps asr2's contract")
    return 0


if __name__ == "__main__":
    cli.run(main)
