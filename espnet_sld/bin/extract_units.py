"""Extract features and assign clusters for one shard of a data directory (stage 4)."""

import argparse
import logging

from espnet_sld import cli
from espnet_sld.units.extract import extract_shard
from espnet_sld.units.frontends import configured_frontend
from espnet_sld.units.source import Reading


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Audio to cluster ids in one streaming pass; writes a shard, pseudo_labels_km<K>.<i>of<N>.txt.\n"
        "A shard that is up to date is left as it is.",
        "python -m espnet_sld.bin.extract_units --data_dir dump/raw/org/train --frontend mfcc \\\n"
        "    --kmeans_dir exp/kmeans/mfcc_200clusters --out_dir dump/extracted/mfcc/train \\\n"
        "    --num_shards 4 --shard 1",
    )
    parser.add_argument("--data_dir", required=True, help="Kaldi data directory")
    parser.add_argument("--kmeans_dir", required=True, help="what fit_kmeans wrote")
    parser.add_argument("--out_dir", required=True, help="output directory")
    parser.add_argument("--frontend", default="mfcc", help="front-end, the one of k-means")
    parser.add_argument("--frontend_conf", nargs="*", default=[], metavar="KEY=VALUE", help="its options")
    parser.add_argument("--num_clusters", type=int, help="K, where kmeans_dir has several")
    parser.add_argument("--num_shards", type=int, default=1, help="N")
    parser.add_argument("--shard", type=int, default=1, help="which of them, from 1")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for front-end and assignment")
    parser.add_argument(
        "--batch_seconds", type=float, default=0.0, help="padded seconds of a batch; 0: 8, on a GPU 300"
    )
    parser.add_argument(
        "--reader_threads", type=int, default=0, help="recordings decoded at once; 0: 1, for a GPU 4"
    )
    parser.add_argument(
        "--speed_on",
        choices=("cpu", "device"),
        default="cpu",
        help="where speed factors are applied: soxr, or torch on the device",
    )
    parser.add_argument("--channels", choices=("mono", "mean"), default="mono", help="mean: average channels")
    parser.add_argument("--allow_pipes", type=cli.str2bool, default=False, help="run commands in wav.scp")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    result = extract_shard(
        args.data_dir,
        args.out_dir,
        configured_frontend(args.frontend, cli.key_values(args.frontend_conf), args.device),
        args.kmeans_dir,
        num_shards=args.num_shards,
        shard=args.shard,
        num_clusters=args.num_clusters,
        reading=Reading(
            allow_pipes=args.allow_pipes,
            channels=args.channels,
            batch_seconds=args.batch_seconds,
            threads=args.reader_threads,
            speed_on=args.speed_on,
            device=args.device,
        ),
    )
    logging.info("%(utterances)d utterances, %(units)d units, %(seconds).1f s of audio", result)
    return 0


if __name__ == "__main__":
    cli.run(main)
