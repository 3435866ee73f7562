"""Score one set of captions: CIDEr, whether the right class is named, and error rates."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "CIDEr-D of one set (100 × its mean), the share of captions that name the right class, and WER\n"
        "and CER against each image's closest reference; writes result.json and what bin/score writes.",
        "python -m espnet_sld.bin.score_caption --hyp exp/dmlm_x/caption_greedy/test_digits/text \\\n"
        "    --captions data/test_digits/captions.tsv --labels data/test_digits/labels \\\n"
        "    --out_dir exp/dmlm_x/caption_greedy/test_digits",
    )
    parser.add_argument("--hyp", type=Path, required=True, help="captions: Kaldi text")
    parser.add_argument(
        "--captions", type=Path, required=True, help="references: id<TAB>caption<TAB>caption…"
    )
    parser.add_argument("--labels", type=Path, help="`id word`: the word that names each image's class")
    parser.add_argument("--out_dir", type=Path, required=True, help="…/<decode_tag>/<set>")
    parser.add_argument(
        "--decode_json",
        type=Path,
        help="the decoder's report, merged (if not given: <out_dir>/decode.json, if there)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.files import read_json
    from espnet_sld.scoring.captions import score_captions

    usual = args.out_dir / "decode.json"
    report = args.decode_json or (usual if usual.is_file() else None)
    result = score_captions(
        args.hyp, args.captions, args.out_dir, read_json(report) if report else {}, labels=args.labels
    )
    line = f"{result.set}: CIDEr {result.extra['cider']:.1f} over {result.utterances} images"
    if "class_accuracy" in result.extra:
        line += f", class right {result.extra['class_accuracy']:.2f} % ({result.extra['class_right']})"
    print(line)
    return 0


if __name__ == "__main__":
    cli.run(main)
