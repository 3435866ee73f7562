"""Train units → mel spectrum on recordings and their units."""

import argparse
import logging

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Train the unit vocoder on a data directory and its units, frame by frame (text.ts… or\n"
        "pseudo_labels…); writes model.safetensors and vocoder.json. Goes on if broken off.",
        "python3 -m espnet_sld.bin.train_vocoder --data_dir dump/raw/org/train \\\n"
        "    --units dump/raw/train_sp/text.ts.mfcc_km300 --kmeans_dir exp/kmeans/mfcc_300clusters \\\n"
        "    --out_dir exp/vocoder/mfcc_km300",
    )
    parser.add_argument("--data_dir", required=True, help="Kaldi data directory")
    parser.add_argument("--units", required=True, help="units of all its utterances: CJK text, or numbers")
    parser.add_argument("--out_dir", required=True, help="the vocoder's directory")
    parser.add_argument("--kmeans_dir", help="what fit_kmeans wrote: number of units and their shift")
    parser.add_argument("--num_units", type=int, help="units that came from elsewhere: their number")
    parser.add_argument("--frame_shift_ms", type=float, default=20, help="their shift (with --num_units)")
    parser.add_argument("--frame_length_ms", type=float, default=25, help="their window (with --num_units)")
    parser.add_argument("--hifigan", help="a HiFi-GAN's directory: predict the spectra that it takes")
    parser.add_argument("--steps", type=int, default=1000, help="optimiser steps")
    parser.add_argument("--batch", type=int, default=24, help="pieces of a step")
    parser.add_argument("--frames", type=int, default=96, help="mel frames of a piece")
    parser.add_argument("--width", type=int, default=128, help="of the network")
    parser.add_argument("--learning_rate", type=float, default=3e-3, help="its peak")
    parser.add_argument("--speaker_dropout", type=float, default=0.2, help="share trained as voice 'any'")
    parser.add_argument("--hours", type=float, default=0.0, help="audio drawn at random; 0: all of it")
    parser.add_argument("--seed", type=int, default=0, help="of weights, draws and pieces")
    parser.add_argument("--save_every", type=int, default=500, help="steps between saved states")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--channels", choices=("mono", "mean"), default="mono", help="mean: average channels")
    parser.add_argument("--allow_pipes", type=cli.str2bool, default=False, help="run commands in wav.scp")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.errors import InputError
    from espnet_sld.units.kmeans import KMeans
    from espnet_sld.vocoder.hifigan_files import load_hifigan
    from espnet_sld.vocoder.mel import MelConf
    from espnet_sld.vocoder.timing import Timing, timing_of
    from espnet_sld.vocoder.train import TrainOptions, train_vocoder

    if (args.kmeans_dir is None) == (args.num_units is None):
        raise InputError("give either --kmeans_dir or --num_units")
    if args.kmeans_dir:
        kmeans = KMeans.load(args.kmeans_dir)
        num_units, timing = kmeans.num_clusters, timing_of(kmeans)
    else:
        num_units = args.num_units
        timing = Timing(round(16 * args.frame_shift_ms), round(16 * args.frame_length_ms))
    names = ("steps", "batch", "frames", "width", "learning_rate", "speaker_dropout", "hours", "seed")
    reading = ("save_every", "device", "allow_pipes", "channels")
    options = {name: getattr(args, name) for name in (*names, *reading)}
    vocoder = train_vocoder(
        args.data_dir,
        args.units,
        args.out_dir,
        num_units,
        timing,
        load_hifigan(args.hifigan).conf if args.hifigan else MelConf(),
        TrainOptions(**options),
    )
    logging.info("%d voices, %s", len(vocoder.speakers), vocoder.info["loss"][-1])
    return 0


if __name__ == "__main__":
    cli.run(main)
