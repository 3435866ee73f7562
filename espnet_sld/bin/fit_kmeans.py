"""Fit k-means on a random sample of a data directory's frames (stage 3)."""

import argparse
import logging

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.units.frontends import configured_frontend
from espnet_sld.units.kmeans import FitOptions
from espnet_sld.units.source import Reading
from espnet_sld.units.train import fit_data_dir


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Fit k-means on a bounded random sample of frames; writes km_<K>.{safetensors,json,mdl} and, beside\n"
        "the directory, distinct_cjk_token_lists. Does nothing if that is up to date. With --max_frames all\n"
        "every frame counts: a sample's fit is improved by passes that extract the features again.",
        "python -m espnet_sld.bin.fit_kmeans --data_dir dump/raw/org/train --num_clusters 200 \\\n"
        "    --frontend mfcc --frontend_conf frame_shift_ms=20 --out_dir exp/kmeans/mfcc_200clusters",
    )
    parser.add_argument("--data_dir", required=True, help="Kaldi data directory, not speed-perturbed")
    parser.add_argument("--out_dir", required=True, help="output directory")
    parser.add_argument("--frontend", default="mfcc", help="front-end")
    parser.add_argument("--frontend_conf", nargs="*", default=[], metavar="KEY=VALUE", help="its options")
    parser.add_argument("--num_clusters", type=int, required=True, help="K")
    parser.add_argument("--hours", type=float, default=0.0, help="audio drawn at random; 0: all of it")
    parser.add_argument(
        "--max_frames", default="2000000", help="size of the sample (2 bytes × D each), or all: stream them"
    )
    parser.add_argument("--stream_passes", type=int, default=1, help="passes of --max_frames all")
    group = parser.add_argument_group("the fit")
    group.add_argument("--seed", type=int, default=0, help="of the sample and the fit")
    group.add_argument(
        "--kmeans_backend", choices=("torch", "sklearn"), default="torch", help="sklearn: as SLD's"
    )
    group.add_argument(
        "--algorithm", choices=("lloyd", "minibatch"), default="lloyd", help="torch's algorithm"
    )
    group.add_argument("--max_iter", type=int, default=100, help="most passes over the sample")
    group.add_argument("--tolerance", type=float, default=1e-3, help="stop below this relative gain (torch)")
    group.add_argument("--batch_size", type=int, default=10_000, help="frames of a mini-batch")
    group.add_argument("--n_init", type=int, default=20, help="initialisations (sklearn)")
    group = parser.add_argument_group("reading audio")
    group.add_argument("--device", default="cpu", help="cpu or cuda, for front-end and fit (torch)")
    group.add_argument(
        "--batch_seconds", type=float, default=0.0, help="padded seconds of a batch; 0: 8, on a GPU 300"
    )
    group.add_argument(
        "--reader_threads", type=int, default=0, help="recordings decoded at once; 0: 1, for a GPU 4"
    )
    group.add_argument("--channels", choices=("mono", "mean"), default="mono", help="mean: average channels")
    group.add_argument("--allow_pipes", type=cli.str2bool, default=False, help="run commands in wav.scp")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    if args.max_frames != "all" and not args.max_frames.isdecimal():
        raise InputError(f"--max_frames {args.max_frames}: must be a number or all")
    front_end = configured_frontend(args.frontend, cli.key_values(args.frontend_conf), args.device)

    kmeans = fit_data_dir(
        args.data_dir,
        args.out_dir,
        front_end,
        FitOptions(
            num_clusters=args.num_clusters,
            seed=args.seed,
            backend=args.kmeans_backend,
            algorithm=args.algorithm,
            max_iter=args.max_iter,
            stream_passes=args.stream_passes,
            tolerance=args.tolerance,
            batch_size=args.batch_size,
            n_init=args.n_init,
            device=args.device,
        ),
        max_frames=None if args.max_frames == "all" else int(args.max_frames),
        hours=args.hours,
        reading=Reading(
            allow_pipes=args.allow_pipes,
            channels=args.channels,
            batch_seconds=args.batch_seconds,
            threads=args.reader_threads,
            device=args.device,
        ),
    )
    info = kmeans.info
    logging.info(
        "%d clusters from %d of %d frames (%.2f h), inertia %.5g, %d without frames",
        kmeans.num_clusters,
        info["frames"],
        info["frames_seen"],
        info["seconds"] / 3600,
        (info.get("stream_inertia") or [info["final_inertia"]])[-1],
        info["dead_clusters"],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
