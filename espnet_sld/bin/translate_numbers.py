"""Translate the digit words of a transcript file: translation pairs for the digit corpora."""

import argparse

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "A Kaldi text file of digit words, word by word into another language (de, en, es, fr).",
        "python3 -m espnet_sld.bin.translate_numbers --text data/train/text --lang de",
    )
    parser.add_argument("--text", required=True, help="`utt word word…` in the source language")
    parser.add_argument("--lang", default="de", help="target language")
    parser.add_argument("--source_lang", default="en", help="source language")
    parser.add_argument("--out", help="default: <text>.<lang>")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.number_words import translate_table

    out = args.out or f"{args.text}.{args.lang}"
    print(f"{out}: {translate_table(args.text, out, args.lang, args.source_lang)} lines")
    return 0


if __name__ == "__main__":
    cli.run(main)
