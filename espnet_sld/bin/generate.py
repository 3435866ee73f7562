"""Generate the targets of a set by one task of a trained model: text, speech units or image tokens."""

import argparse
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from espnet_sld import cli
from espnet_sld.bin.decode import DEFAULTS as SEARCH
from espnet_sld.bin.decode import read_options
from espnet_sld.errors import InputError
from espnet_sld.files import read_table, write_json, write_table
from espnet_sld.stamps import Stamp
from espnet_sld.tasks.mixture_file import task_name

DEFAULTS = {**SEARCH, "temperature": 0.0, "top_k": 0, "min_tokens": 0}


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Generate a set's targets by one task. Writes scores, decode.json and\n"
        "  text                               of a text (`utt words`), as bin.decode does\n"
        "  units, pseudo_labels_km<K>.txt     of speech: unit text (`utt characters`), and `utt 17 5 …`\n"
        "  image_tokens                       of images (`utt 17 5 …`)\n"
        "Does nothing if they are up to date. Nothing outside the target's modality is ever generated.",
        "python -m espnet_sld.bin.generate --exp_dir exp/dmlm_demo --checkpoint valid.loss.ave.pth \\\n"
        "    --task tts --source dump/raw/test/text.ts.en --config conf/decode_tts.yaml \\\n"
        "    --mixture_stats exp/dmlm_stats --out_dir exp/dmlm_demo/tts_greedy/test",
    )
    parser.add_argument("--exp_dir", required=True, help="experiment, with config.yaml")
    parser.add_argument("--checkpoint", required=True, help="file in it, chosen on dev")
    parser.add_argument("--task", required=True, help="sequence template: asr tts st mt caption asr_sld …")
    parser.add_argument("--language", help="target language, where the task was trained with one")
    parser.add_argument("--generate_token", help="generate token, where the task was trained with another")
    parser.add_argument("--source", required=True, help="unit text, text or image tokens (`utt …`)")
    parser.add_argument("--config", help=f"YAML with any of: {', '.join(DEFAULTS)}")
    parser.add_argument("--seed", type=int, default=0, help="of the draws; used where temperature is not 0")
    parser.add_argument("--utt2dur", help="seconds of each utterance, for the real-time factor")
    bound = parser.add_mutually_exclusive_group()
    bound.add_argument(
        "--mixture_stats",
        help="of bin.collect_mixture; the task's training set with the longest targets for their conditions "
        "bounds the output's length",
    )
    bound.add_argument("--length_stats", help="the same, of one training set's length_stats.json")
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--out_dir", required=True, help="output directory")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Generate one set."""
    args = get_parser().parse_args(argv)
    options = read_options(args.config, DEFAULTS)
    if options["temperature"] > 0 and options["beam_size"] > 1:
        raise InputError(f"{args.config}: temperature and beam_size exclude each other; set one of them")
    if options["top_k"] > 1 and options["temperature"] == 0:
        raise InputError(f"{args.config}: top_k is of draws, and temperature 0 draws nothing; set it over 0")
    draw = options["temperature"] > 0 or options["min_tokens"] > 0
    if draw and options["beam_size"] > 1:
        raise InputError(f"{args.config}: min_tokens is not for a beam; set beam_size to 1")
    exp_dir, out_dir = Path(args.exp_dir), Path(args.out_dir)
    checkpoint = cli.checkpoint_of(exp_dir, args.checkpoint)

    from espnet_sld.inference.checkpoint import read_config

    conf = read_config(exp_dir / "config.yaml")
    template = task_template(args.task, args.language, args.generate_token)
    trained_for = conf.get("mixture_tasks") or [conf.get("template") or "asr_sld"]
    if task_name(template) not in trained_for:
        raise InputError(
            f"{exp_dir}/config.yaml: the model was not trained for '{task_name(template)}'; it was for: "
            f"{', '.join(trained_for)} (--task and, for a token of its own, --language or --generate_token)"
        )
    length_stats = args.length_stats
    if args.mixture_stats:
        from espnet_sld.inference.length_bound import statistics_of_task

        length_stats = str(statistics_of_task(args.mixture_stats, task_name(template)))
    names = output_names(template.target_kind, conf)
    given = {"seed": args.seed, "task": args.task, "token": getattr(template, "generate", None)}
    stamp = Stamp(
        out_dir / "decode.done.json",
        inputs=[
            *(checkpoint, exp_dir / "config.yaml", args.source),
            *(path for path in (length_stats, args.utt2dur) if path),
        ],
        options={**options, **given},
        outputs=[out_dir / name for name in (*names, "scores", "decode.json")],
    )
    if stamp.fresh():
        logging.info("%s is up to date", out_dir)
        return 0

    from espnet_sld.inference.checkpoint import load_checkpoint
    from espnet_sld.inference.length_bound import LengthBound
    from espnet_sld.inference.sampling import Sampled
    from espnet_sld.inference.set_decoding import decode_sources, read_durations
    from espnet_sld.scoring.environment import git_revision
    from espnet_sld.tokens.limits import Limits

    sources = read_table(args.source)
    durations = read_durations(args.utt2dur, list(sources))
    device = cli.device_name(args.ngpu)
    loading = time.perf_counter()
    trained = load_checkpoint(checkpoint, exp_dir / "config.yaml", device)
    bound = None
    if length_stats:
        bound = LengthBound.from_file(
            length_stats,
            Limits(**trained.limits).target(template),
            margin=float(options["length_margin"]),
            constant=int(options["length_constant"]),
        )
    sampled = Sampled(
        float(options["temperature"]), int(options["top_k"]), args.seed, int(options["min_tokens"])
    )
    loaded = time.perf_counter() - loading
    found = decode_sources(
        trained,
        template,
        sources,
        options,
        title=f"generate {out_dir.name}",
        bound=bound,
        sampled=sampled if draw else None,
    )
    write_outputs(out_dir, names, found.outputs)
    write_table(out_dir / "scores", found.scores)
    empty = sum(not output for output in found.outputs.values())
    record = {
        **options,
        "checkpoint": args.checkpoint,
        "task": args.task,
        "generate_token": given["token"],
        "generation_seed": args.seed,
        "git": git_revision(),
        "load_seconds": loaded,
        **found.record(trained, durations),
        "empty": empty,
        "device": device,
    }
    write_json(out_dir / "decode.json", record)
    stamp.write(utterances=len(sources))
    print(
        f"{out_dir}: {args.task} of {len(sources)} utterances in {found.seconds:.1f} s, {empty} empty, "
        f"{len(found.truncated)} stopped by the bound, {len(found.loops)} with loops",
        file=sys.stderr,
    )
    return 0


def task_template(task: str, language: str | None, generate_token: str | None) -> Any:
    """The template of a task, with the token it was trained with.

    Raises:
        InputError: no such task, or one without a generate token.
    """
    from espnet_sld.tokens import get_template
    from espnet_sld.tokens.dmlm_templates import TaskTemplate

    template = get_template(task)
    if template.source is None:
        raise InputError(f"--task {task} has no condition to generate from")
    if language is None and generate_token is None:
        return template
    if not isinstance(template, TaskTemplate) or (language and generate_token):
        raise InputError("--language and --generate_token: give one, and to a task with a generate token")
    return template.in_language(language) if language else template.generating(generate_token)


def output_names(kind: str, conf: Mapping[str, Any]) -> list[str]:
    """Files that the target's modality is written to."""
    return {
        "text": ["text"],
        "speech": ["units", f"pseudo_labels_km{conf.get('num_clusters')}.txt"],
        "image": ["image_tokens"],
    }[kind]


def write_outputs(out_dir: Path, names: list[str], found: Mapping[str, str]) -> None:
    """Write what was generated: as it is, and for speech the cluster ids too."""
    from espnet_sld.units.unit_text import text_to_ids

    write_table(out_dir / names[0], found)
    if len(names) > 1:
        ids = {key: " ".join(map(str, text_to_ids(value).tolist())) for key, value in found.items()}
        write_table(out_dir / names[1], ids)


if __name__ == "__main__":
    cli.run(main)
