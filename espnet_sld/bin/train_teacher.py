"""Train the embedded teacher of interAED-KD: a small BERT on the recogniser's own tokens (stage 6)."""

import argparse
import json
import logging
from pathlib import Path

from espnet_sld import cli
from espnet_sld.stamps import Stamp

RECORD = "training.json"  # beside the weights: how it was trained


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Train a small BERT on transcripts, tokens masked at random; it is written as a Hugging Face\n"
        "directory that carries the recogniser's token list. The step with the best held-out loss is kept.\n"
        "Does nothing if it is up to date.",
        "python -m espnet_sld.bin.train_teacher --text dump/raw/train/text.ts.en \\\n"
        "    --held_out dump/raw/dev/text.ts.en --token_type word \\\n"
        "    --token_list data/token_list/word_en/tokens.txt --teacher_conf max_steps=4000 \\\n"
        "    --out_dir exp/teacher_word",
    )
    parser.add_argument("--text", nargs="+", required=True, help="Kaldi texts to learn from")
    parser.add_argument("--lm_train_text", nargs="*", default=[], help="more Kaldi texts, without speech")
    parser.add_argument("--held_out", help="Kaldi text that the step is chosen on; not given: the last step")
    add_token_arguments(parser)
    parser.add_argument(
        "--bert_conf", nargs="*", default=[], metavar="KEY=VALUE", help="size, e.g. hidden_size=128"
    )
    parser.add_argument(
        "--teacher_conf",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="training, e.g. max_steps=4000",
    )
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--out_dir", type=Path, required=True, help="Hugging Face directory to write")
    return parser


def add_token_arguments(parser: argparse.ArgumentParser) -> None:
    """The recogniser's tokens, as `train_ctc` takes them."""
    parser.add_argument("--token_type", required=True, help="char | word | bpe | hf")
    parser.add_argument("--token_list", required=True, help="tokens.txt of the recogniser")
    parser.add_argument("--bpemodel", help="bpe: its bpe.model; hf: the tokenizer's directory or name")


def main(argv: list[str] | None = None) -> int:
    """Train and save; writes `training.json` with the losses."""
    args = get_parser().parse_args(argv)
    bert_conf, teacher_conf = cli.key_values(args.bert_conf), cli.key_values(args.teacher_conf)
    model = Path(args.bpemodel) if args.bpemodel else None
    inputs = [*args.text, *args.lm_train_text, args.token_list]
    inputs += [args.held_out] if args.held_out else []
    inputs += [model] if model and model.is_file() else []
    stamp = Stamp(
        args.out_dir.with_name(args.out_dir.name + ".done.json"),
        inputs=inputs,
        options={"bert_conf": bert_conf, "teacher_conf": teacher_conf, "token_type": args.token_type},
        outputs=[args.out_dir / "config.json", args.out_dir / "teacher.json"],
    )
    if stamp.fresh():
        logging.info("%s is up to date", args.out_dir)
        return 0
    from espnet_sld.models.teacher_training import train_teacher
    from espnet_sld.tokens.target_ids import TargetIds
    from espnet_sld.tokens.texts import read_texts

    targets = TargetIds(args.token_type, args.token_list, args.bpemodel)
    held_out = [args.held_out] if args.held_out else []
    result = train_teacher(
        (targets.encode(text) for _, text in read_texts([*args.text, *args.lm_train_text])),
        targets.tokens,
        args.out_dir,
        held_out=(targets.encode(text) for _, text in read_texts(held_out)),
        bert_conf=bert_conf,
        teacher_conf=teacher_conf,
        device=cli.device_name(args.ngpu),
    )
    stamp.write(**result)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    cli.run(main)
