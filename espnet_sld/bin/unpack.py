"""Verify a pack, copy it, or lay its tokeniser out for a recipe."""

import argparse
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Verify a pack (directory, zip or name on the hub); then, as asked: copy it as a directory, put its\n"
        "k-means and token lists where stages 3 and 5 of tokenize.sh would, or print the recipe options\n"
        "that follow from it, one `name=value` a line.",
        "python -m espnet_sld.bin.unpack --pack packed/x.zip --out_dir models/x",
    )
    parser.add_argument("--pack", required=True, help="directory, zip, or user/model on the hub")
    parser.add_argument("--digest", help="as pack printed it; another pack is refused")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--out_dir", type=Path, help="copy the pack to this directory")
    parser.add_argument("--kmeans_dir", type=Path, help="put k-means there (with --token_lists)")
    parser.add_argument("--token_lists", type=Path, help="put subword models and token lists below it")
    parser.add_argument(
        "--frontend_dir",
        type=Path,
        default=Path("exp/frontend"),
        help="where a packed front-end's weights go",
    )
    parser.add_argument("--print_options", type=cli.str2bool, default=False, help="print recipe options")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.inference.unpack import Pack, lay_out, recipe_options, unpack

    given = {"digest": args.digest, "revision": args.revision}
    if bool(args.kmeans_dir) != bool(args.token_lists):
        raise InputError("--kmeans_dir and --token_lists go together: where stages 3 and 5 put theirs")
    pack = unpack(args.pack, args.out_dir, **given) if args.out_dir else Pack.open(args.pack, **given)
    if args.kmeans_dir:
        lay_out(pack, args.kmeans_dir, args.token_lists, args.frontend_dir)
    if args.print_options:
        for name, value in recipe_options(pack, args.frontend_dir).items():
            print(f"{name}={value}")
    else:
        print(f"{pack.root}: a {pack.kind}, verified, digest {pack.digest}")
    return 0


if __name__ == "__main__":
    cli.run(main)
