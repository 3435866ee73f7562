"""Cross entropies of a set's sequences under trained models, by modality."""

import argparse
import logging
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import write_json
from espnet_sld.stamps import Stamp


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write <exp_dir>/losses/<name>.json: nats a token of each modality, for one task's sequences of\n"
        "a set, e.g. of dev's speech given its text (--task tts). Models that were not trained for the\n"
        "task are left out, and named. What is up to date stays.",
        "python -m espnet_sld.bin.task_losses --exp_dirs exp/dmlm_a exp/dmlm_b --task tts --name tts_dev \\\n"
        "    --files speech=dump/raw/dev/text.rm.mfcc_km100 text=dump/raw/dev/text.ts.en",
    )
    parser.add_argument("--exp_dirs", nargs="+", type=Path, required=True, help="each with config.yaml")
    parser.add_argument("--checkpoint", default="valid.loss.ave.pth", help="file in them")
    parser.add_argument("--task", required=True, help="sequence template: asr tts caption speech_lm …")
    parser.add_argument("--language", help="target language, where the task was trained with one")
    parser.add_argument("--files", nargs="+", required=True, help="field=FILE of the task: speech= text=")
    parser.add_argument("--only", help="regular expression that the ids of used utterances contain")
    parser.add_argument("--name", required=True, help="what the result is called")
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Measure all models on one set."""
    args = get_parser().parse_args(argv)
    files = dict(item.partition("=")[::2] for item in args.files)
    if not all(files.values()):
        raise InputError(f"--files {' '.join(args.files)}: expected field=FILE of each field")

    from espnet_sld.bin.generate import task_template
    from espnet_sld.inference.checkpoint import load_checkpoint, read_config
    from espnet_sld.tasks.mixture_file import DataSet, task_name

    template = task_template(args.task, args.language, None)
    if set(files) != set(template.fields):
        raise InputError(f"--files: task {args.task} has the fields {', '.join(sorted(template.fields))}")
    entry = DataSet(args.name, template, files, only=args.only)
    for exp_dir in args.exp_dirs:
        checkpoint, config = cli.checkpoint_of(exp_dir, args.checkpoint), exp_dir / "config.yaml"
        out = exp_dir / "losses" / f"{args.name}.json"
        conf = read_config(config)
        if task_name(template) not in (conf.get("mixture_tasks") or [conf.get("template") or "asr_sld"]):
            logging.info("%s: not trained for '%s', left out", exp_dir, task_name(template))
            continue
        stamp = Stamp(
            out.with_suffix(".done.json"),
            inputs=[checkpoint, config, *files.values()],
            options={"task": args.task, "language": args.language, "only": args.only},
            outputs=[out],
        )
        if stamp.fresh():
            continue

        from espnet_sld.tasks.dataset import SequenceDataset
        from espnet_sld.tasks.preprocess import SequencePreprocessor
        from espnet_sld.tasks.set_losses import set_losses

        trained = load_checkpoint(checkpoint, config, cli.device_name(args.ngpu))
        kept = exp_dir / "mixture.yaml"  # names the task tokens of the vocabulary; moves with the experiment
        known = argparse.Namespace(**{**conf, **({"mixture": str(kept)} if kept.exists() else {})})
        preprocess = SequencePreprocessor.from_args(known).with_template(template)
        paths = [(path, field) for field, path in files.items()]
        found = set_losses(trained.model, SequenceDataset(paths, preprocess, choose=entry.choose))
        record = {
            "ce": {kind: mean for kind, (mean, _) in found.items()},
            "targets": {kind: count for kind, (_, count) in found.items()},
            "task": args.task,
            "files": files,
            "only": args.only,
        }
        write_json(out, record, allow_nan=False)
        stamp.write(targets=record["targets"])
        said = ", ".join(f"{kind} {mean:.3f}" for kind, (mean, _) in found.items())
        print(f"{exp_dir}: {said} nats a token")
    return 0


if __name__ == "__main__":
    cli.run(main)
