"""A picture of images above what their tokens keep of them, for reports."""

import argparse

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Reconstruct images from a token file; writes one PNG: originals (if their set is given) above them.",
        "python3 -m espnet_sld.bin.reconstruct_images --tokens dump/raw/test_digits/image_tokens \\\n"
        "    --quantiser exp/image_quantiser/patch2_k64 --images data/test_digits --out images.png",
    )
    parser.add_argument("--tokens", required=True, help="token file: `id t1 t2 …`")
    parser.add_argument("--quantiser", required=True, help="the quantiser's directory")
    parser.add_argument("--images", help="images.scp or its directory: show the originals too")
    parser.add_argument("--ids", nargs="*", help="which; else the first --count by id")
    parser.add_argument("--count", type=int, default=10, help="how many, without --ids")
    parser.add_argument("--scale", type=int, default=6, help="enlarge pixels")
    parser.add_argument("--out", required=True, help="the PNG")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    import numpy as np

    from espnet_sld.corpus.image_set import read_images_scp
    from espnet_sld.errors import InputError
    from espnet_sld.images.quantiser import load_quantiser
    from espnet_sld.images.read import read_images, write_rows
    from espnet_sld.images.tokens import read_tokens

    quantiser, tokens = load_quantiser(args.quantiser), read_tokens(args.tokens)
    ids = args.ids or sorted(tokens, key=str.encode)[: args.count]
    if unknown := [key for key in ids if key not in tokens]:
        raise InputError(f"{args.tokens}: has no tokens of {', '.join(unknown[:5])}")
    lengths = {len(tokens[key]) for key in ids}
    if lengths != {quantiser.grid[0] * quantiser.grid[1]}:
        raise InputError(
            f"{args.tokens}: lines of {sorted(lengths)} tokens, the quantiser's grid is {quantiser.grid}"
        )
    rebuilt = quantiser.decode(np.stack([tokens[key] for key in ids]))
    rows = [rebuilt]
    if args.images:
        files = read_images_scp(args.images)
        if unknown := [key for key in ids if key not in files]:
            raise InputError(f"{args.images}: has no image of {', '.join(unknown[:5])}")
        originals = read_images([files[key] for key in ids], quantiser.image_shape)
        rows = [originals, rebuilt]
        print(f"mean squared error of a pixel (0 … 1): {np.mean((originals - rebuilt) ** 2):.5f}")
    write_rows(args.out, rows, scale=args.scale)
    return 0


if __name__ == "__main__":
    cli.run(main)
