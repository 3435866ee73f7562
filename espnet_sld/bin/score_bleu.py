"""Score one set of translations: BLEU, and the error rates of bin/score."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "BLEU (sacrebleu, its signature kept) of one set, with WER and CER against the first reference;\n"
        "writes result.json, per_utterance.tsv, hyp.trn and ref.trn as bin/score does.",
        "python -m espnet_sld.bin.score_bleu --hyp exp/dmlm_x/st_greedy/test/text \\\n"
        "    --ref dump/raw/test/text.ts.de --out_dir exp/dmlm_x/st_greedy/test",
    )
    parser.add_argument("--hyp", type=Path, required=True, help="hypotheses: Kaldi text, or .trn")
    parser.add_argument(
        "--ref", type=Path, nargs="+", required=True, help="references: one file, or several of the same set"
    )
    parser.add_argument("--out_dir", type=Path, required=True, help="…/<decode_tag>/<set>")
    parser.add_argument("--tokenize", default="13a", help="sacrebleu's tokeniser")
    parser.add_argument("--lowercase", type=cli.str2bool, default=False, help="compare in lower case")
    parser.add_argument(
        "--decode_json",
        type=Path,
        help="the decoder's report, merged (if not given: <out_dir>/decode.json, if there)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.files import read_json
    from espnet_sld.scoring.translation import score_translations

    usual = args.out_dir / "decode.json"
    report = args.decode_json or (usual if usual.is_file() else None)
    result = score_translations(
        args.hyp,
        args.ref,
        args.out_dir,
        read_json(report) if report else {},
        tokenize=args.tokenize,
        lowercase=args.lowercase,
    )
    print(
        f"{result.set}: BLEU {result.extra['bleu']:.2f} ({result.extra['bleu_signature']}), "
        f"WER {result.wer:.2f} % of {result.ref_words} words, {result.utterances} utterances"
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
