"""Options of the objectives `matched` and `ce_weighted`, from counts on the training set (stage 6)."""

import argparse
import json
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Print speech_weight = 1 + λ and smoothing_epsilon = ε*, with which label smoothing has nearly the\n"
        "gradient of SLD: λ = α·T·N_KL/B over the training set.",
        "python -m espnet_sld.bin.matched_weights --config conf/train.yaml \\\n"
        "    --length_stats exp/asr_sld_stats/train/length_stats.json --objective matched",
    )
    parser.add_argument("--length_stats", required=True, help="length_stats.json of the training set")
    parser.add_argument("--config", required=True, help="training configuration, for α, ε and T")
    parser.add_argument(
        "--objective", choices=("matched", "ce_weighted"), required=True, help="whose options"
    )
    parser.add_argument(
        "--training_args",
        nargs=argparse.REMAINDER,
        default=[],
        help="last: more options of the training; its `--criterion_conf alpha=0.01` counts before --config",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print `key=value` pairs for --criterion_conf, one a line."""
    args = get_parser().parse_args(argv)
    import yaml

    from espnet_sld.criteria.smoothing import matched_smoothing
    from espnet_sld.tasks.identity import read_pairs

    try:
        conf = yaml.safe_load(Path(args.config).read_text(encoding="utf-8")) or {}
        stats = json.loads(Path(args.length_stats).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: no such file; run stage 6 first") from None
    except yaml.YAMLError as error:
        raise InputError(f"{args.config}: not YAML ({str(error).splitlines()[0]})") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{args.length_stats}: damaged ({error}); run stage 6 again") from None
    given = conf.get("criterion_conf") or {}
    for option, value in read_pairs(args.training_args):
        if option == "criterion_conf":
            key, equals, one = value.partition("=")
            given |= {key: yaml.safe_load(one)} if equals else yaml.safe_load(value) or {}
    utterances = stats["utterances"]
    weight, epsilon = matched_smoothing(
        alpha=float(given.get("alpha", 0.008)),  # float: YAML reads 8e-3 as text
        epsilon=float(given.get("epsilon", 0.1)),
        temperature=float(given.get("temperature", 1.0)),
        kl_reduction=given.get("kl_reduction", "utterance"),
        speech_vocabulary=stats["vocabulary"]["speech"],
        # the first piece of a sequence is never a target
        kl_targets=stats["speech"]["total"] - stats["cut_tokens"] - utterances,
        utterances=utterances,
    )
    print(f"speech_weight={weight:.6f}")
    if args.objective == "matched":
        print(f"smoothing_epsilon={epsilon:.6f}")
    return 0


if __name__ == "__main__":
    cli.run(main)
