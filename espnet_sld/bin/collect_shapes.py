"""Measure the sequences of a set: shape files and length statistics (stage 6)."""

import argparse
import logging

from espnet_sld import cli
from espnet_sld.tokens.shapes import collect_shapes
from espnet_sld.tokens.subword import build_text_tokenizer, build_unit_tokenizer


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write speech_shape, text_shape, sequence_shape (`utt N`) and length_stats.json of a set.",
        "python -m espnet_sld.bin.collect_shapes --speech_text dump/raw/train/text.rm.mfcc_km200 \\\n"
        "    --text dump/raw/train/text.ts.en --num_clusters 200 --text_token_type word \\\n"
        "    --text_token_path data/token_list/word_en --out_dir exp/asr_sld_stats/train",
    )
    parser.add_argument("--speech_text", required=True, help="unit text of the set")
    parser.add_argument("--text", required=True, help="transcripts of the set")
    parser.add_argument("--out_dir", required=True, help="output directory")
    parser.add_argument(
        "--speech_token_type", choices=("unit", "unigram", "bpe"), default="unit", help="of units"
    )
    parser.add_argument("--speech_token_path", help="bpe.model or its directory; not for unit")
    parser.add_argument("--num_clusters", type=int, required=True, help="K")
    parser.add_argument(
        "--text_token_type",
        choices=("bpe", "unigram", "char", "word", "hf"),
        default="bpe",
        help="of transcripts",
    )
    parser.add_argument("--text_token_path", required=True, help="bpe.model, tokens.txt or directory")
    parser.add_argument("--template", default="asr_sld", help="sequence template")
    parser.add_argument("--max_positions", type=int, default=1024, help="positions of the model")
    parser.add_argument("--max_text", type=int, default=150, help="most text tokens")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    report = collect_shapes(
        args.speech_text,
        args.text,
        build_unit_tokenizer(args.speech_token_type, args.speech_token_path, args.num_clusters),
        build_text_tokenizer(args.text_token_type, args.text_token_path),
        args.out_dir,
        template=args.template,
        max_positions=args.max_positions,
        max_text=args.max_text,
    )
    logging.info(
        "%d utterances, length mean %.1f max %d; cut: %d speech, %d text; unknown: %d units, %d text",
        report["utterances"],
        report["sequence"]["mean"],
        report["sequence"]["max"],
        report["cut_utterances"],
        report["cut_texts"],
        report["unknown_units"],
        report["unknown_text"],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
