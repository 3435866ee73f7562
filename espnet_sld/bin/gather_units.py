"""Join the shards of a set into label file, unit text and companions (stage 4)."""

import argparse
import logging

from espnet_sld import cli
from espnet_sld.units.gather import gather


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Join shards into pseudo_labels_km<K>.txt and report.json, and write text.{ts,rm}.<suffix>,\n"
        "text.ts.<lang>, utt2spk, utt2dur and feats_type; exactly the utterances of the data directory.",
        "python -m espnet_sld.bin.gather_units --data_dir dump/raw/org/train --num_shards 4 \\\n"
        "    --out_dir dump/extracted/mfcc/train --dump_dir dump/raw/train --suffix mfcc_km200 --lang en",
    )
    parser.add_argument("--data_dir", required=True, help="Kaldi data directory that was extracted")
    parser.add_argument("--out_dir", required=True, help="where extract_units wrote")
    parser.add_argument("--dump_dir", required=True, help="where texts go, e.g. dump/raw/train")
    parser.add_argument("--num_shards", type=int, default=1, help="N of extract_units")
    parser.add_argument("--suffix", required=True, help="<frontend>_km<K>")
    parser.add_argument("--lang", default="en", help="language of the transcripts, as in file names")
    parser.add_argument("--num_clusters", type=int, default=0, help="K; 0: from the suffix")
    parser.add_argument("--text", type=cli.str2bool, default=True, help="false: the set has no transcripts")
    parser.add_argument("--lm_train", help="also write transcripts there, e.g. dump/raw/lm_train.txt")
    return parser


def main(argv: list[str] | None = None) -> int:
    options = vars(get_parser().parse_args(argv))
    paths = [options.pop(name) for name in ("data_dir", "out_dir", "dump_dir")]
    report = gather(*paths, **options)
    logging.info(
        "%d utterances, %.1f units/s (%.1f de-duplicated), entropy %.2f bits, %d of %d clusters never used",
        report["utterances"],
        report["units_per_second_ts"],
        report["units_per_second_rm"],
        report["entropy_bits_ts"],
        len(report["dead_clusters"]),
        report["num_clusters"],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
