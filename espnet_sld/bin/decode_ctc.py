"""Decode a set with a trained CTC recogniser: greedy, or beam search with an external LM (stage 8)."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import write_json, write_table
from espnet_sld.progress import Progress
from espnet_sld.stamps import Stamp

DEFAULTS: dict[str, Any] = {
    "beam_size": 1,
    "batch_size": 0,
    "batch_tokens": 16384,
    "lm_weight": 0.3,
    "length_bonus": 0.0,
    "maxlenratio": 0.0,
    "minlenratio": 0.0,
}
LM_FILE = "valid.loss.ave.pth"


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Decode a set; writes text, scores and decode.json for bin.score; nothing if they are up to date.\n"
        "beam_size 1 without --lm_exp: greedy CTC, in batches. Else ESPnet's CTC prefix beam search, one\n"
        "utterance at a time, with an external LM if --lm_exp names one (espnet2.bin.lm_train). Seconds are\n"
        "measured alike for both: from unit text or sound file to words, without loading models; wall time\n"
        "(decode_seconds, rtf) and CPU time of all threads (decode_cpu_seconds).",
        "python -m espnet_sld.bin.decode_ctc --exp_dir exp/interaed_kd --checkpoint valid.ter.ave.pth \\\n"
        "    --speech_text dump/raw/test/text.rm.mfcc_km200 --utt2dur dump/raw/test/utt2dur \\\n"
        "    --out_dir exp/interaed_kd/decode_greedy/test",
    )
    parser.add_argument("--exp_dir", required=True, help="experiment, with config.yaml")
    parser.add_argument("--checkpoint", default="valid.ter.ave.pth", help="file in it, chosen on dev")
    parser.add_argument(
        "--config", help=f"YAML with any of: {', '.join(DEFAULTS)}; options below override it"
    )
    parser.add_argument(
        "--speech_text", required=True, help="unit text of the set; for --input fbank models its wav.scp"
    )
    parser.add_argument(
        "--utt2dur", help="seconds of each utterance, for the real-time factor; default: beside speech_text"
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--out_dir", required=True, help="output directory")
    group = parser.add_argument_group("search")
    group.add_argument("--beam_size", type=int, help="hypotheses kept (if not given: the config's, or 1)")
    group.add_argument(
        "--batch_size", type=int, help="greedy: utterances a batch (if not given: the config's, or 0)"
    )
    group.add_argument(
        "--batch_tokens",
        type=int,
        help="greedy, with batch_size 0: padded units or frames of a batch (16384)",
    )
    group.add_argument(
        "--lm_exp", type=Path, help="experiment of espnet2.bin.lm_train, on the same token list"
    )
    group.add_argument(
        "--lm_file", help=f"its checkpoint (if not given: {LM_FILE}, which the end of its training writes)"
    )
    group.add_argument("--lm_weight", type=float, help="of the LM's log-probabilities (0.3)")
    group.add_argument("--length_bonus", type=float, help="added for each token (0)")
    group.add_argument("--maxlenratio", type=float, help="most tokens by frames; 0: as many as frames (0)")
    group.add_argument("--minlenratio", type=float, help="fewest tokens by frames (0)")
    return parser


def read_options(args: argparse.Namespace) -> dict[str, Any]:
    """Decoding options: defaults, overridden by the configuration, overridden by the command line."""
    from espnet_sld.bin.decode import read_options as read_config

    options = read_config(args.config, DEFAULTS)
    options |= {key: value for key in DEFAULTS if (value := getattr(args, key)) is not None}
    if options["beam_size"] < 1 or options["batch_size"] < 0 or options["batch_tokens"] < 1:
        raise InputError("beam_size and batch_tokens must be at least 1, batch_size at least 0")
    if args.lm_file and not args.lm_exp:
        raise InputError(f"--lm_file {args.lm_file}: a checkpoint of --lm_exp; name that experiment, too")
    return options


def main(argv: list[str] | None = None) -> int:
    """Decode one set."""
    args = get_parser().parse_args(argv)
    options = read_options(args)
    exp_dir, out_dir = Path(args.exp_dir), Path(args.out_dir)
    checkpoint = cli.checkpoint_of(exp_dir, args.checkpoint)
    lm = lm_checkpoint(args.lm_exp, args.lm_file) if args.lm_exp else None
    beside = Path(args.speech_text).with_name("utt2dur")
    utt2dur = args.utt2dur or (str(beside) if beside.is_file() else None)
    tables = [Path(args.speech_text).with_name(name) for name in ("segments", "utt2speed")]
    outputs = [out_dir / name for name in ("text", "scores", "decode.json")]
    stamp = Stamp(
        out_dir / "decode.done.json",
        inputs=[
            *(checkpoint, exp_dir / "config.yaml", args.speech_text),
            *([utt2dur] if utt2dur else []),
            *([lm, args.lm_exp / "config.yaml"] if lm else []),
            *(path for path in tables if path.is_file() and Path(args.speech_text).name == "wav.scp"),
        ],
        options=options,
        outputs=outputs,
    )
    if stamp.fresh():
        logging.info("%s is up to date", out_dir)
        return 0
    record = decode(args, options, checkpoint, lm, utt2dur, outputs)
    write_json(outputs[2], record)
    stamp.write(utterances=record["utterances"])
    print(
        f"{out_dir}: {record['utterances']} utterances in {record['decode_seconds']:.1f} s, "
        f"{record['method']}, {record['too_short']} too short for a frame",
        file=sys.stderr,
    )
    return 0


def decode(
    args: argparse.Namespace,
    options: dict[str, Any],
    checkpoint: Path,
    lm: Path | None,
    utt2dur: str | None,
    outputs: list[Path],
) -> dict[str, Any]:
    """Load, decode, write text and scores; what decode.json holds."""
    from espnet_sld.inference.ctc_checkpoint import load_ctc
    from espnet_sld.inference.set_decoding import read_durations
    from espnet_sld.scoring.environment import git_revision

    device = cli.device_name(args.ngpu)
    loading = time.perf_counter()
    trained = load_ctc(checkpoint, exp_config(args), device)
    speech = open_speech(trained, args.speech_text)
    durations = read_durations(utt2dur, speech.utterances)
    beam = options["beam_size"] > 1 or lm is not None
    search = None
    if beam:
        from espnet_sld.bin.train import quietly

        with quietly():
            from espnet_sld.tasks.ctc_beam import CtcBeam
        search = CtcBeam.build(trained.model, trained.targets.tokens, options, lm, device)
    for _ in results(trained, speech, speech.utterances[:1], options, search):
        pass  # what is done once only, at the first use, is no part of the time
    speech.forget()
    started, worked = time.perf_counter(), time.process_time()
    texts: dict[str, str] = {}
    scores: dict[str, str] = {}
    short: list[str] = []
    progress = Progress(len(speech.utterances), f"decode {args.out_dir}")
    for name, tokens, score in results(trained, speech, speech.utterances, options, search):
        texts[name] = trained.text(tokens or [])
        scores[name] = f"{score:.4f}"
        if tokens is None:
            short.append(name)
        progress.update()
    progress.close()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    audio = sum(durations[name] for name in speech.utterances) if durations else 0.0
    write_table(outputs[0], texts)
    write_table(outputs[1], scores)
    conf = trained.config
    return {
        **options,
        "checkpoint": args.checkpoint,
        "model": conf["encoder"],
        "n_params": sum(p.numel() for p in trained.model.parameters()),
        "lm_params": search.lm_parameters if search else 0,
        "lm_exp": str(args.lm_exp) if lm else None,
        "method": f"beam {search.beam.beam_size}" if search else "greedy",
        "objective": (conf.get("criterion_conf") or {}).get("row", "interaed_kd"),
        "seed": conf["seed"],
        "git": git_revision(),
        "utterances": len(texts),
        "audio_seconds": audio,
        "decode_seconds": seconds,
        "decode_cpu_seconds": cpu_seconds,  # of all threads; steadier on a busy machine
        "load_seconds": started - loading,
        "rtf": seconds / audio if audio else None,
        "too_short": len(short),
        "too_short_utterances": short,
        "device": device,
    }


def results(
    trained: Any, speech: Any, utterances: list[str], options: dict[str, Any], search: Any
) -> Iterator[tuple[str, list[int] | None, float]]:
    """Yield (utterance, tokens, score); tokens None where there is not one frame."""
    if search is None:
        from espnet_sld.inference.ctc_decoding import decode_greedy

        sizes = {"batch_size": options["batch_size"], "batch_tokens": options["batch_tokens"]}
        for name, found in decode_greedy(trained.model, speech, utterances, **sizes):
            yield name, found.tokens if found.num_frames else None, found.score
        return
    for name in utterances:
        tokens, score = search(speech.load(name))
        yield name, tokens, score


def exp_config(args: argparse.Namespace) -> Path:
    """The experiment's config.yaml."""
    return Path(args.exp_dir) / "config.yaml"


def lm_checkpoint(lm_exp: Path, name: str | None) -> Path:
    """The LM's checkpoint: the named one, else the average, which is written when the training ends.

    Raises:
        InputError: it is not there.
    """
    path = lm_exp / (name or LM_FILE)
    if path.exists():
        return path
    other = "" if name else ", or name another checkpoint by --lm_file"
    raise InputError(f"{path}: no such file; train the LM to its end (espnet2.bin.lm_train){other}")


def open_speech(trained: Any, path: str) -> Any:
    """What is heard, as training reads it."""
    from espnet_sld.tasks.ctc_speech import UnitSpeech, WaveSpeech

    if trained.units is not None:
        return UnitSpeech(path, trained.units)
    source = trained.model.encoder.source
    return WaveSpeech(path, source.rate, source.hop)


if __name__ == "__main__":
    cli.run(main)
