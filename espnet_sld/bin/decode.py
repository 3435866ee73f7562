"""Decode a set of unit texts with a trained model (stage 8)."""

import argparse
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_json, write_table
from espnet_sld.stamps import Stamp

DEFAULTS = {
    "beam_size": 1,
    "length_penalty": 0.0,
    "batch_tokens": 16384,
    "length_margin": 1.5,
    "length_constant": 5,
}


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Decode unit texts; writes text, scores and decode.json. Does nothing if they are up to date.",
        "python -m espnet_sld.bin.decode --exp_dir exp/asr_sld_demo --checkpoint valid.ce_text.ave.pth \\\n"
        "    --config conf/decode_greedy.yaml --speech_text dump/raw/test/text.rm.mfcc_km200 \\\n"
        "    --length_stats exp/asr_sld_stats/train/length_stats.json --out_dir exp/asr_sld_demo/decode/test",
    )
    parser.add_argument("--exp_dir", required=True, help="experiment, with config.yaml")
    parser.add_argument("--checkpoint", required=True, help="file in it, chosen on dev")
    parser.add_argument("--config", help=f"YAML with any of: {', '.join(DEFAULTS)}")
    parser.add_argument("--speech_text", required=True, help="unit text of the set (`utt characters`)")
    parser.add_argument("--utt2dur", help="seconds of each utterance, for the real-time factor")
    parser.add_argument(
        "--length_stats", required=True, help="of the training set; bounds the output's length"
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--out_dir", required=True, help="output directory")
    return parser


def read_options(path: str | None, defaults: Mapping[str, float] = DEFAULTS) -> dict[str, float]:
    """Decoding options: defaults, overridden by a YAML file whose unknown keys are errors."""
    known = ", ".join(defaults)
    if path is None:
        return dict(defaults)
    import yaml

    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; name a decoding configuration") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(given, dict):
        raise InputError(f"{path}: not a mapping of options; known: {known}")
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise InputError(f"{path}: unknown key {', '.join(unknown)}; known: {known}")
    for key, value in given.items():
        if type(value) is not type(defaults[key]) and type(value) is not int:
            raise InputError(f"{path}: {key} must be a number like {defaults[key]}, not '{value}'")
    return {**defaults, **given}


def main(argv: list[str] | None = None) -> int:
    """Decode one set."""
    args = get_parser().parse_args(argv)
    options = read_options(args.config)
    exp_dir, out_dir = Path(args.exp_dir), Path(args.out_dir)
    checkpoint = cli.checkpoint_of(exp_dir, args.checkpoint)
    outputs = [out_dir / name for name in ("text", "scores", "decode.json")]
    stamp = Stamp(
        out_dir / "decode.done.json",
        inputs=[
            *(checkpoint, exp_dir / "config.yaml", args.speech_text, args.length_stats),
            *([args.utt2dur] if args.utt2dur else []),
        ],
        options=options,
        outputs=outputs,
    )
    if stamp.fresh():
        logging.info("%s is up to date", out_dir)
        return 0

    from espnet_sld.inference.checkpoint import load_checkpoint
    from espnet_sld.inference.length_bound import LengthBound
    from espnet_sld.inference.set_decoding import decode_sources, read_durations
    from espnet_sld.scoring.environment import git_revision

    units = read_table(args.speech_text)
    durations = read_durations(args.utt2dur, list(units))
    device = cli.device_name(args.ngpu)
    loading = time.perf_counter()
    trained = load_checkpoint(checkpoint, exp_dir / "config.yaml", device)
    bound = LengthBound.from_file(
        args.length_stats,
        trained.limits["max_text"],
        margin=float(options["length_margin"]),
        constant=int(options["length_constant"]),
    )
    loaded = time.perf_counter() - loading
    found = decode_sources(
        trained, trained.template, units, options, title=f"decode {out_dir.name}", bound=bound
    )
    write_table(outputs[0], found.outputs)
    write_table(outputs[1], found.scores)
    record = {
        **options,
        "checkpoint": args.checkpoint,
        "git": git_revision(),
        "load_seconds": loaded,
        **found.record(trained, durations),
        "device": device,
    }
    write_json(outputs[2], record)
    stamp.write(utterances=len(units))
    print(
        f"{out_dir}: {len(units)} utterances in {found.seconds:.1f} s, {len(found.truncated)} stopped by the "
        f"bound, {len(found.loops)} with loops",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
