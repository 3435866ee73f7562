"""Turn a set's images into tokens, or a shard of them; join shards."""

import argparse
import logging

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Images to tokens: writes `id t1 t2 …`, a line for every line of images.scp. Nothing if up to date.\n"
        "With --num_shards N each of N jobs writes OUT.<i>ofN; then --gather true joins them.",
        "python3 -m espnet_sld.bin.quantise_images --images data/train_digits \\\n"
        "    --quantiser exp/image_quantiser/patch2_k64 --out dump/raw/train_digits/image_tokens",
    )
    parser.add_argument("--images", required=True, help="images.scp, or the directory that has it")
    parser.add_argument("--quantiser", required=True, help="a quantiser's directory: fitted, or a dVAE's")
    parser.add_argument("--out", required=True, help="the token file")
    parser.add_argument("--num_shards", type=int, default=1, help="N")
    parser.add_argument("--shard", type=int, default=1, help="which of them, from 1")
    parser.add_argument(
        "--gather", type=cli.str2bool, default=False, help="join the N shards, encode nothing"
    )
    parser.add_argument("--batch", type=int, default=64, help="images read at a time")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for a dVAE")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.images.quantiser import load_quantiser
    from espnet_sld.images.tokens import gather, quantise

    if args.gather:
        logging.info("%s: %d lines", args.out, gather(args.out, args.num_shards))
        return 0
    result = quantise(
        args.images,
        args.out,
        load_quantiser(args.quantiser, args.device),
        shard=args.shard,
        num_shards=args.num_shards,
        batch=args.batch,
    )
    logging.info("%(images)d images, %(ids)d lines, %(tokens)d tokens of which %(used)d differ", result)
    return 0


if __name__ == "__main__":
    cli.run(main)
