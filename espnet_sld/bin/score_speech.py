"""Mel distance of synthesised speech to the recordings of the same utterances."""

import argparse
from pathlib import Path

from espnet_sld import cli

DESCRIPTION = """\
Mel cepstral distortion and log-mel difference (dB, after dynamic time warping) of two data directories with
the same utterances. Writes JSON; with --decode_json its values are added to what is there, so that
bin/score --decode_json OUT puts them into result.json beside the WER of what a recogniser heard."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        DESCRIPTION,
        "python3 -m espnet_sld.bin.score_speech --ref dump/raw/org/test \\\n"
        "    --hyp exp/dmlm_x/tts_greedy/test/speech --out exp/dmlm_x/tts_greedy/test/decode.json",
    )
    parser.add_argument("--ref", required=True, help="data directory of the recordings")
    parser.add_argument("--hyp", required=True, help="data directory of the synthesised speech")
    parser.add_argument("--out", type=Path, required=True, help="JSON file")
    parser.add_argument("--decode_json", type=Path, help="a report whose values are kept in OUT")
    parser.add_argument(
        "--skip", nargs="*", default=[], help="reports by synthesise: leave out what it left empty"
    )
    parser.add_argument(
        "--channels", choices=("mono", "mean"), default="mono", help="of --ref; mean: average channels"
    )
    parser.add_argument(
        "--allow_pipes", type=cli.str2bool, default=False, help="run commands in wav.scp of --ref"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    import numpy as np

    from espnet_sld.corpus.audio import utterances
    from espnet_sld.corpus.data_dir import DataDir
    from espnet_sld.errors import InputError
    from espnet_sld.files import read_json, write_json
    from espnet_sld.scoring.speech_distance import report
    from espnet_sld.vocoder.mel import MelConf, log_mel

    conf = MelConf(log_base="e")
    recorded = DataDir.read(args.ref, text=False, allow_pipes=args.allow_pipes)
    spoken = DataDir.read(args.hyp, text=False)
    left_out = {utt for name in args.skip for utt in read_json(name)["empty"]}
    wanted = [utt for utt in spoken.utterances if utt not in left_out]
    if missing := [utt for utt in wanted if utt not in recorded.utt2spk]:
        raise InputError(
            f"{args.ref}: lacks {len(missing)} utterances of {args.hyp} ({', '.join(missing[:3])})"
        )

    def pairs():
        reading = {
            "target_rate": conf.sample_rate,
            "allow_pipes": args.allow_pipes,
            "channels": args.channels,
        }
        for utt, wave in utterances(recorded.select(wanted), **reading):
            # One at a time: recordings may come in another order.
            [(_, ours)] = utterances(spoken.select([utt]), target_rate=conf.sample_rate)
            yield utt, spectrum(wave), spectrum(ours)

    def spectrum(wave):
        """Log-mel of a waveform; what is shorter than a spectrum needs, such as one unit, is padded."""
        return log_mel(np.pad(wave, (0, max(0, conf.n_fft // 2 + 1 - len(wave)))), conf)

    values = {**(read_json(args.decode_json) if args.decode_json else {}), **report(pairs())}
    values["not_compared"] = len(spoken) - len(wanted)
    write_json(args.out, values)
    print(
        f"{args.hyp}: MCD {values['mcd_db']:.2f} dB, mel {values['mel_db']:.2f} dB, "
        f"{values['compared']} utterances"
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
