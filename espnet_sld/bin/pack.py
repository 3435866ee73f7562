"""Pack a trained model, or a tokeniser alone, into one directory or zip (stage 10)."""

import argparse
import logging
from pathlib import Path
from typing import Any

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "All that turns raw audio into text in one directory, or one zip: configuration, safetensors\n"
        "weights, centroids, subword models, front-end, length bound, figures, a model card, and a manifest\n"
        "with SHA-256 digests. With --exp_dir a model; without, a tokeniser for `tokenize.sh --tokenizer`.",
        "python -m espnet_sld.bin.pack --exp_dir exp/asr_sld_x --checkpoint valid.ce_text.ave.pth \\\n"
        "    --license cc-by-4.0 --out packed/x.zip",
    )
    parser.add_argument("--out", type=Path, required=True, help="directory, or a name that ends in .zip")
    parser.add_argument(
        "--exp_dir", type=Path, help="experiment, with config.yaml; its relative paths start here"
    )
    parser.add_argument(
        "--checkpoint",
        help="file in it, chosen on dev (if not given: valid.ce_text.ave.pth, or valid.ter.ave.pth of CTC)",
    )
    parser.add_argument("--inference_config", help="default decoding options of the pack, as stage 8's")
    parser.add_argument(
        "--length_stats",
        type=Path,
        help="of the training set (if not given: beside the training's shape file)",
    )
    group = parser.add_argument_group("units and tokens")
    group.add_argument(
        "--kmeans_dir",
        type=Path,
        help="what stage 3 wrote (if not given: kmeans/ beside the experiment, by its name)",
    )
    group.add_argument("--num_clusters", type=int, help="K, where kmeans_dir has several")
    group.add_argument("--unit_case", choices=("ts", "rm"), help="if not given: by the name of the unit text")
    group.add_argument("--token_lists", type=Path, nargs="*", default=[], help="more directories of stage 5")
    group.add_argument("--frontend", help="as in stage 3; mfcc is found by itself")
    group.add_argument("--frontend_conf", nargs="*", default=[], metavar="KEY=VALUE", help="its options")
    group.add_argument(
        "--include_frontend",
        type=cli.str2bool,
        default=False,
        help="bring the weights of a front-end with layers",
    )
    group = parser.add_argument_group("model card")
    group.add_argument("--name", help="of the model (if not given: of --out)")
    group.add_argument(
        "--license", default="unknown", help="as the Hugging Face hub names it, e.g. apache-2.0"
    )
    group.add_argument("--language", default="en", help="of the transcripts")
    group.add_argument("--datasets", nargs="*", default=[], help="trained on, as the hub names them")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.inference.pack import Card, pack_model, pack_tokenizer
    from espnet_sld.scoring.environment import git_revision

    name = args.name or args.out.name.removesuffix(".zip")
    if args.license == "unknown":
        logging.warning("no --license: the card will say that it is unknown")
    card = Card(name, args.license, args.language, args.datasets)
    found = _of_experiment(args) if args.exp_dir else {}
    if found.get("ctc"):
        print(f"{args.out}: digest {_pack_ctc(args, card, found)}")
        return 0
    units = _units(args, found)
    if args.exp_dir:
        from espnet_sld.bin.decode import read_options

        length_stats = args.length_stats or found.get("length_stats")
        if not length_stats:
            raise InputError(
                f"--length_stats is needed: {args.exp_dir} does not say where its training set's are"
            )
        digest = pack_model(
            args.out,
            units,
            card,
            checkpoint=args.exp_dir / (args.checkpoint or "valid.ce_text.ave.pth"),
            length_stats=length_stats,
            decoding=read_options(args.inference_config),
            results=_results(args.exp_dir),
            train_text=found.get("train_text"),
            git=git_revision(),
        )
    else:
        digest = pack_tokenizer(args.out, units, card, git=git_revision())
    print(f"{args.out}: digest {digest}")
    return 0


def _units(args: argparse.Namespace, found: dict[str, Any]) -> Any:
    """Where the tokenisation is; InputError if nothing tells."""
    from espnet_sld.inference.pack import Units

    kmeans_dir, case = args.kmeans_dir or found.get("kmeans_dir"), args.unit_case or found.get("case")
    for option, value in (("--kmeans_dir", kmeans_dir), ("--unit_case", case)):
        if not value:
            raise InputError(
                f"{option} is needed: it cannot be told from {args.exp_dir or 'a tokeniser alone'}"
            )
    return Units(
        Path(kmeans_dir),
        case,
        args.num_clusters,
        args.frontend,
        cli.key_values(args.frontend_conf),
        args.include_frontend,
        args.token_lists,
    )


def _pack_ctc(args: argparse.Namespace, card: Any, found: dict[str, Any]) -> str:
    """Pack a CTC recogniser, without its decoders; the digest."""
    from espnet_sld.bin.decode import read_options
    from espnet_sld.bin.decode_ctc import DEFAULTS
    from espnet_sld.inference.ctc_pack import pack_ctc
    from espnet_sld.scoring.environment import git_revision

    return pack_ctc(
        args.out,
        _units(args, found) if found["ctc"] == "units" else None,
        card,
        checkpoint=args.exp_dir / (args.checkpoint or "valid.ter.ave.pth"),
        decoding=read_options(args.inference_config, DEFAULTS),
        results=_results(args.exp_dir),
        train_text=found.get("train_text"),
        git=git_revision(),
    )


def _of_experiment(args: argparse.Namespace) -> dict[str, Any]:
    """What config.yaml tells by its names: unit text, k-means, length statistics, transcripts."""
    from espnet_sld.inference.checkpoint import read_config
    from espnet_sld.inference.ctc_checkpoint import is_ctc

    config = read_config(args.exp_dir / "config.yaml")
    data = {row[1]: Path(row[0]) for row in config.get("train_data_path_and_name_and_type") or []}
    found: dict[str, Any] = {"ctc": config["input"] if is_ctc(config) else None}
    parts = data["speech"].name.split(".", 2) if "speech" in data else []
    if len(parts) == 3 and parts[1] in ("ts", "rm"):  # text.<case>.<feature>_km<K>
        feature, _, clusters = parts[2].rpartition("_km")
        found["case"] = parts[1]
        found["kmeans_dir"] = args.exp_dir.parent / "kmeans" / f"{feature}_{clusters}clusters"
    for shapes in config.get("train_shape_file") or []:
        found["length_stats"] = Path(shapes).parent / "length_stats.json"
    if "text" in data and data["text"].is_file():
        found["train_text"] = data["text"]
    return found


def _results(exp_dir: Path) -> list[dict[str, Any]]:
    """Scored sets of the experiment, as its RESULTS.md has them; none is no error."""
    from espnet_sld.scoring.results_md import read_results

    if not list(exp_dir.glob("*/*/result.json")):
        return []
    return [result.as_dict() for result in read_results(exp_dir)]


if __name__ == "__main__":
    cli.run(main)
