"""A packed recogniser reads a data directory's recordings: what it heard, as Kaldi text."""

import argparse
import logging
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError

REPORT = "synthesis.json"  # names what the waveforms were made from, where they were made


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Recognise a data directory's recordings with a packed model: `utt words`. Nothing if up to date.",
        "python3 -m espnet_sld.bin.listen --model exp/packed/asr_sld_x \\\n"
        "    --data_dir exp/dmlm_x/tts/test/speech --out exp/dmlm_x/tts/test/heard",
    )
    parser.add_argument("--model", required=True, help="pack: directory, zip, or user/model on the hub")
    parser.add_argument("--data_dir", type=Path, required=True, help="Kaldi data directory")
    parser.add_argument("--out", type=Path, required=True, help="Kaldi text; empty where nothing was heard")
    parser.add_argument("--batch_seconds", type=float, default=60.0, help="audio worked on at once")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.audio import utterances
    from espnet_sld.corpus.data_dir import DataDir
    from espnet_sld.files import write_table
    from espnet_sld.inference.unpack import Pack
    from espnet_sld.progress import track
    from espnet_sld.stamps import Stamp

    if not (args.data_dir / "wav.scp").exists():
        raise InputError(f"{args.data_dir}/wav.scp: no such file; --data_dir must be a Kaldi data directory")
    pack = Pack.open(args.model)
    stamp = Stamp(
        args.out.with_name(args.out.name + ".done.json"),
        inputs=[path for name in ("wav.scp", "segments", REPORT) if (path := args.data_dir / name).exists()],
        options={"model": pack.digest, "device": args.device},
        outputs=[args.out],
    )
    if stamp.fresh():
        logging.info("%s is up to date", args.out)
        return 0
    from espnet_sld.inference import Speech2Text

    speech2text = Speech2Text.from_pretrained(args.model, device=args.device, digest=pack.digest)
    data = DataDir.read(args.data_dir, text=False)
    heard: dict[str, str] = {}
    names, waves, held, short = [], [], 0.0, []

    def recognise() -> None:
        for name, found in zip(names, speech2text(waves, speech2text.rate), strict=True):
            heard[name] = found.text
        names.clear()
        waves.clear()

    for name, samples in track(utterances(data, target_rate=speech2text.rate), len(data), "listening"):
        if not speech2text.long_enough(len(samples)):  # such as speech of a single unit
            heard[name] = ""
            short.append(name)
            continue
        names.append(name)
        waves.append(samples)
        held += len(samples) / speech2text.rate
        if held >= args.batch_seconds:
            recognise()
            held = 0.0
    if names:
        recognise()
    write_table(args.out, heard)
    if short:
        logging.warning("%d of %d are too short for one frame: nothing heard in %s%s",
                        len(short), len(heard), " ".join(short[:5]), " …" * (len(short) > 5))  # fmt: skip
    stamp.write(utterances=len(heard), empty=sum(not text for text in heard.values()), too_short=len(short))
    return 0


if __name__ == "__main__":
    cli.run(main)
