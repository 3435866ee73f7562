"""Make data directories of CoVoST 2 from Common Voice's clips and CoVoST's table."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
CoVoST 2 of one language pair as data directories covost_<src>_<tgt>_{train,dev,test}: wav.scp, text (the
transcript), text.<tgt> (the translation). Rows that cannot be used are counted and listed in dropped.tsv."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        DESCRIPTION,
        "python3 -m espnet_sld.bin.prepare_covost --common_voice_dir cv-corpus-4/en --covost_dir covost \\\n"
        "    --source_lang en --target_lang de",
    )
    parser.add_argument("--common_voice_dir", required=True, help="one language: validated.tsv and clips/")
    parser.add_argument("--covost_dir", required=True, help="folder of covost_v2.<src>_<tgt>.tsv")
    parser.add_argument("--source_lang", required=True, help="code as in the table's name, e.g. en")
    parser.add_argument("--target_lang", required=True, help="code as in the table's name, e.g. de")
    parser.add_argument("--data_dir", default="data", help="where the sets are written")
    parser.add_argument("--lower", default="true false", help="transcript, translation: to lower case")
    parser.add_argument("--punctuation", default="false true", help="transcript, translation: keep it")
    parser.add_argument(
        "--skip_missing", type=cli.str2bool, default=False, help="leave out rows without clip"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.covost import prepare
    from espnet_sld.errors import InputError

    pairs = []
    for option in ("lower", "punctuation"):
        words = getattr(args, option).split()
        if len(words) != 2 or not {*words} <= {"true", "false"}:
            raise InputError(f"--{option} '{getattr(args, option)}': must be two of true and false")
        pairs.append((words[0] == "true", words[1] == "true"))
    sets = prepare(
        args.common_voice_dir,
        args.covost_dir,
        args.data_dir,
        args.source_lang,
        args.target_lang,
        lower=pairs[0],
        punctuation=pairs[1],
        skip_missing=args.skip_missing,
    )
    for name, current in sets.items():
        print(f"{name}: {len(current.data)} utterances, {len(current.dropped)} left out")
    return 0


if __name__ == "__main__":
    cli.run(main)
