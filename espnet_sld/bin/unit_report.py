"""Report how units are used and how long sequences become (end of stage 5)."""

import argparse
import logging
import re

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.tokens.subword import build_text_tokenizer, build_unit_tokenizer
from espnet_sld.tokens.unit_report import unit_report


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write report.json and report.md: entropy, clusters never used, units and tokens a second before\n"
        "and after de-duplication and SentencePiece, sequence lengths, the share over --max_positions.",
        "python -m espnet_sld.bin.unit_report --set_dirs dump/raw/train dump/raw/dev --suffix mfcc_km200 \\\n"
        "  --token_type unigram --token_path data/token_list/src_bpe_unigram500_rm_mfcc_km200/bpe.model \\\n"
        "    --text_token_type word --text_token_path data/token_list/word_en --out_dir exp/unit_report",
    )
    parser.add_argument("--set_dirs", nargs="+", required=True, help="directories with text.{ts,rm}.<suffix>")
    parser.add_argument("--suffix", required=True, help="<frontend>_km<K>")
    parser.add_argument("--out_dir", required=True, help="output directory")
    parser.add_argument("--unit_case", choices=("ts", "rm"), default="rm", help="what the tokens are made of")
    parser.add_argument("--token_type", choices=("unit", "unigram", "bpe"), default="unit", help="of units")
    parser.add_argument("--token_path", help="bpe.model or its directory; not for unit")
    parser.add_argument("--num_clusters", type=int, default=0, help="K; 0: from the suffix")
    parser.add_argument("--lang", default="en", help="language of the transcripts, as in file names")
    parser.add_argument(
        "--text_token_type",
        choices=("bpe", "unigram", "char", "word", "hf"),
        help="of transcripts; without, positions are counted without them",
    )
    parser.add_argument("--text_token_path", help="bpe.model, tokens.txt or directory")
    parser.add_argument("--template", default="asr_sld", help="sequence template")
    parser.add_argument("--max_positions", type=int, default=1024, help="positions of the model")
    parser.add_argument("--extracted_dir", help="where units were extracted: seconds of sets without utt2dur")
    parser.add_argument("--nj", type=int, default=1, help="threads of SentencePiece")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    match = re.search(r"_km(\d+)$", args.suffix)
    if not (args.num_clusters or match):
        raise InputError(f"suffix '{args.suffix}' does not end in _km<K>; give --num_clusters")
    if bool(args.text_token_type) != bool(args.text_token_path):
        raise InputError("--text_token_type and --text_token_path belong together")
    clusters = args.num_clusters or int(match[1])
    report = unit_report(
        args.set_dirs,
        args.out_dir,
        suffix=args.suffix,
        num_clusters=clusters,
        tokenizer=build_unit_tokenizer(args.token_type, args.token_path, clusters),
        unit_case=args.unit_case,
        lang=args.lang,
        text_tokenizer=args.text_token_type
        and build_text_tokenizer(args.text_token_type, args.text_token_path),
        template=args.template,
        max_positions=args.max_positions,
        extracted_dir=args.extracted_dir,
        threads=args.nj,
    )
    for name, use in report["sets"].items():
        logging.info(
            "%s: %d utterances, %s units/s, %s de-duplicated, %s tokens/s, %d clusters never used, "
            "%d utterances (%.3f %%) over %d positions",
            name,
            use["utterances"],
            *(use[key]["per_second"] for key in ("units_ts", "units_rm", "tokens")),
            use["dead_cluster_count"],
            use["positions"]["over"],
            100 * use["positions"]["over_share"],
            args.max_positions,
        )
    return 0


if __name__ == "__main__":
    cli.run(main)
