"""Train a subword model or write a token list for units or text (stage 5)."""

import argparse
import logging

from espnet_sld import cli
from espnet_sld.tokens.train import MODEL_TYPES, train_subword


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Train SentencePiece (unigram, bpe) on units or text, or list characters or words; writes\n"
        "bpe.model, bpe.vocab, tokens.txt, train.txt as ESPnet's asr2 has them, and subword.json (size).",
        "python -m espnet_sld.bin.train_subword --kind unit --model_type unigram --vocab_size 1000 \\\n"
        "    --input dump/raw/train_sp/text.rm.mfcc_km200 \\\n"
        "    --out_dir data/token_list/src_bpe_unigram1000_rm_mfcc_km200",
    )
    parser.add_argument("--input", nargs="+", required=True, help="Kaldi text files")
    parser.add_argument("--out_dir", required=True, help="output directory")
    parser.add_argument("--kind", choices=("unit", "text"), required=True, help="what the text is")
    parser.add_argument(
        "--model_type", choices=MODEL_TYPES, default="unigram", help="kind of subwords or list"
    )
    parser.add_argument(
        "--vocab_size", type=int, default=0, help="number of pieces; lists: the most, 0 = all"
    )
    parser.add_argument(
        "--character_coverage", type=float, default=1.0, help="below 1 rare units become <unk>"
    )
    parser.add_argument("--user_defined_symbols", nargs="*", default=[], help="symbols kept as one piece")
    parser.add_argument(
        "--input_sentence_size", type=int, default=0, help="random lines to train on, 0 = all"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random lines")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = vars(get_parser().parse_args(argv))
    report = train_subword(options.pop("input"), options.pop("out_dir"), **options)
    logging.info(
        "%s %s: %d tokens from %d lines",
        report["kind"],
        report["model_type"],
        report["size"],
        report["lines"],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
