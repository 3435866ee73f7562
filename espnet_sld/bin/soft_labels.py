"""Write a masked LM's soft labels of transcripts, and say how good a teacher it is (stage 6)."""

import argparse
import logging
from pathlib import Path

from espnet_sld import cli
from espnet_sld.bin.train_teacher import add_token_arguments
from espnet_sld.errors import InputError
from espnet_sld.files import write_json
from espnet_sld.stamps import Stamp, file_digest


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Every token of every transcript is masked in turn; the k likeliest tokens there and their\n"
        "probabilities at temperature T are stored (ids int32, probabilities float16, safetensors).\n"
        "With --shard I --num_shards N: shards I, I+N, … alone, to be run as an array. Without: what is\n"
        "missing, then all is joined and the teacher's report is printed and written to OUT.report.json.\n"
        "What is up to date is not made again.",
        "python -m espnet_sld.bin.soft_labels --teacher exp/teacher_word --token_type word \\\n"
        "    --token_list data/token_list/word_en/tokens.txt --text dump/raw/train/text.ts.en \\\n"
        "    dump/raw/dev/text.ts.en --report_text dump/raw/dev/text.ts.en --out exp/soft_labels.safetensors",
    )
    parser.add_argument("--teacher", type=Path, required=True, help="Hugging Face directory of a masked LM")
    parser.add_argument("--text", nargs="+", required=True, help="Kaldi texts, training and dev")
    parser.add_argument("--report_text", help="Kaldi text that is reported on alone, too")
    add_token_arguments(parser)
    parser.add_argument("--top_k", type=int, default=8, help="labels a token")
    parser.add_argument("--temperature", type=float, default=3.0, help="T of the softmax over them")
    parser.add_argument("--max_tokens", type=int, default=8192, help="places x longest of a forward pass")
    parser.add_argument("--shard_size", type=int, default=2000, help="transcripts a shard")
    parser.add_argument("--num_shards", type=int, default=1, help="jobs of the array, N")
    parser.add_argument("--shard", type=int, help="which job, from 1; not given: finish and join")
    parser.add_argument("--ngpu", type=int, default=0, help="0: CPU")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """One job of the array, or the end of all."""
    args = get_parser().parse_args(argv)
    if args.shard is not None and not 1 <= args.shard <= args.num_shards:
        raise InputError(f"--shard {args.shard}: must be from 1 to --num_shards {args.num_shards}")
    if args.shard_size < 1:
        raise InputError(f"--shard_size {args.shard_size}: at least 1")
    from espnet_sld.models.soft_label_store import SoftLabelWriter, teacher_identity
    from espnet_sld.models.teacher import load_teacher
    from espnet_sld.tokens.target_ids import TargetIds
    from espnet_sld.tokens.texts import read_texts

    if not args.teacher.is_dir():
        raise InputError(f"--teacher {args.teacher}: no such directory; train one with train_teacher first")
    targets = TargetIds(args.token_type, args.token_list, args.bpemodel)
    utterances: dict[str, list[int]] = {}
    for name, text in read_texts(args.text):
        if name in utterances:
            raise InputError(f"'{name}' occurs twice in {' '.join(args.text)}; utterances must be unique")
        utterances[name] = targets.encode(text)
    device = cli.device_name(args.ngpu)

    def teacher():
        return load_teacher(args.teacher, targets.tokens, device=device)

    settings = {"k": args.top_k, "temperature": args.temperature, "max_tokens": args.max_tokens}
    identity = {**teacher_identity(args.teacher), "token_list": file_digest(args.token_list)}
    writer = SoftLabelWriter(args.out, utterances, teacher, identity, shard_size=args.shard_size, **settings)
    if args.shard is not None:
        if writer.final_stamp().fresh():
            logging.info("%s is up to date", args.out)
        else:
            writer.write_shards(range(args.shard - 1, writer.num_shards, args.num_shards))
        return 0
    report = {"all": writer.write()}
    if args.report_text:
        report[args.report_text] = _report_on(args, writer, targets, teacher, settings)
    write_json(args.out.with_name(args.out.name + ".report.json"), report)
    for name, values in report.items():
        print(
            f"teacher {args.teacher} on {name}: pseudo-perplexity {values['pseudo_perplexity']:.3f}, entropy "
            f"of the labels {values['entropy']:.3f} nats, reference among the {args.top_k}: "
            f"{100 * values['references_in_top_k']:.2f} % of {values['tokens']} tokens"
        )
    return 0


def _report_on(args: argparse.Namespace, writer, targets, teacher, settings: dict) -> dict[str, float]:
    """The teacher's figures on one text, kept with what they were computed from."""
    from espnet_sld.models.soft_labels import soft_labels
    from espnet_sld.tokens.texts import read_texts

    stamp = Stamp(
        args.out.with_name(args.out.name + ".report.done.json"),
        inputs=[args.report_text],
        options={"store": writer.final_stamp().options},
    )
    if not stamp.fresh():
        transcripts = [targets.encode(text) for _, text in read_texts([args.report_text])]
        _, totals = soft_labels(teacher(), transcripts, **settings)
        stamp.write(**totals.report())
    return stamp.result()


if __name__ == "__main__":
    cli.run(main)
