"""Speak units: a unit file becomes a data directory of 16 kHz recordings."""

import argparse
import logging

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Units to speech: a Kaldi data directory (16 kHz, PCM 16) and synthesis.json. Nothing if up to date.",
        "python3 -m espnet_sld.bin.synthesise --units exp/dmlm_x/tts_greedy/test/units \\\n"
        "    --vocoder exp/vocoder/mfcc_km300 --text dump/raw/test/text.ts.en \\\n"
        "    --out_dir exp/dmlm_x/tts_greedy/test/speech",
    )
    parser.add_argument("--units", required=True, help="`utt` and its units: CJK text, or numbers")
    parser.add_argument("--vocoder", required=True, help="what train_vocoder wrote")
    parser.add_argument("--out_dir", required=True, help="the data directory")
    parser.add_argument(
        "--unit_case", choices=("ts", "rm"), default="ts", help="rm: de-duplicated, durations are predicted"
    )
    parser.add_argument("--hifigan", help="a HiFi-GAN's directory (transformers' or ParallelWaveGAN's)")
    parser.add_argument("--iterations", type=int, default=60, help="of Griffin-Lim")
    parser.add_argument("--speaker", default="any", help="a voice of the vocoder, any, or own (by --utt2spk)")
    parser.add_argument("--utt2spk", help="speakers of the utterances; without it each is its own")
    parser.add_argument("--text", help="transcripts for the directory: Kaldi text")
    parser.add_argument("--seed", type=int, default=0, help="of Griffin-Lim's phases")
    parser.add_argument(
        "--num_shards", type=int, default=1, help="N; join their directories by data_dir combine"
    )
    parser.add_argument("--shard", type=int, default=1, help="which of them, from 1")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.files import read_table
    from espnet_sld.vocoder.hifigan_files import load_hifigan
    from espnet_sld.vocoder.saved import UnitVocoder
    from espnet_sld.vocoder.synthesise import GriffinLim, synthesise

    if args.hifigan:
        maker = load_hifigan(args.hifigan)
    else:
        maker = GriffinLim(UnitVocoder.load(args.vocoder).conf, args.iterations)
    own = args.speaker == "own"
    report = synthesise(
        args.units,
        args.vocoder,
        args.out_dir,
        maker=maker,
        unit_case=args.unit_case,
        speaker="any" if own else args.speaker,
        own_voice=own,
        utt2spk=read_table(args.utt2spk) if args.utt2spk else None,
        text=read_table(args.text, allow_empty_value=True) if args.text else None,
        seed=args.seed,
        shard=(args.shard, args.num_shards),
    )
    logging.info(
        "%d utterances, %.1f s of speech, %d without units",
        report["utterances"],
        report["seconds"],
        len(report["empty"]),
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
