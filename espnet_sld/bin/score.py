"""Stage 9: score one decoded set."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "WER and CER of one decoded set; writes result.json, per_utterance.tsv, hyp.trn and ref.trn.",
        "python -m espnet_sld.bin.score --hyp exp/asr_sld_x/decode_greedy/test/text \\\n"
        "    --ref dump/raw/test/text.ts.en --out_dir exp/asr_sld_x/decode_greedy/test",
    )
    parser.add_argument("--hyp", type=Path, required=True, help="hypotheses: Kaldi text, or .trn")
    parser.add_argument("--ref", type=Path, required=True, help="references: Kaldi text, or .trn")
    parser.add_argument("--out_dir", type=Path, required=True, help="…/<decode_tag>/<set>")
    parser.add_argument(
        "--decode_json",
        type=Path,
        help="the decoder's report, merged (if not given: <out_dir>/decode.json, if there)",
    )
    parser.add_argument(
        "--utt2spk",
        type=Path,
        help="speakers for the trn files (if not given: beside the references, if there)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.files import read_json
    from espnet_sld.scoring.result import score_set
    from espnet_sld.scoring.results_md import results_table

    decode_json = _given_or_found(args.decode_json, args.out_dir / "decode.json")
    utt2spk = _given_or_found(args.utt2spk, args.ref.parent / "utt2spk")
    meta = read_json(decode_json) if decode_json else {}
    result = score_set(args.hyp, args.ref, args.out_dir, meta, utt2spk=utt2spk)
    print(results_table([result]))
    return 0


def _given_or_found(given: Path | None, usual: Path) -> Path | None:
    """A file that was named must exist; the usual one is taken if it does."""
    if given is not None:
        return given
    return usual if usual.is_file() else None


if __name__ == "__main__":
    cli.run(main)
