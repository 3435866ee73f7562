"""Fit the embedded image quantiser: k-means over patches of a set's images."""

import argparse
import logging
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "k-means over image patches; writes codebook.safetensors and quantiser.json. Nothing if up to date.",
        "python3 -m espnet_sld.bin.fit_image_quantiser --images data/train_digits --size 8 --channels 1 \\\n"
        "    --patch 2 --codebook_size 64 --out_dir exp/image_quantiser/patch2_k64",
    )
    parser.add_argument("--images", required=True, help="images.scp, or the directory that has it")
    parser.add_argument("--out_dir", type=Path, required=True, help="the quantiser's directory")
    parser.add_argument("--size", type=int, nargs="+", default=[8], help="height and width, or one for both")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1, help="1 grey, 3 colour")
    parser.add_argument("--patch", type=int, default=2, help="side of a patch in pixels")
    parser.add_argument("--codebook_size", type=int, default=64, help="K")
    parser.add_argument("--max_images", type=int, default=20000, help="images that are read, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw and the fit")
    parser.add_argument("--device", default="cpu", help="cpu or cuda, for the fit")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    if len(args.size) > 2 or min(args.size) < 1 or args.max_images < 1:
        size = " ".join(map(str, args.size))
        raise InputError(f"--size {size}, --max_images {args.max_images}: one or two sizes, all at least 1")
    import os
    import random

    from espnet_sld.corpus.image_set import read_images_scp
    from espnet_sld.images.patches import WEIGHTS, PatchKMeans
    from espnet_sld.images.quantiser import RECORD
    from espnet_sld.images.read import read_images
    from espnet_sld.stamps import Stamp

    scp = Path(args.images) / "images.scp" if Path(args.images).is_dir() else Path(args.images)
    files = sorted(set(read_images_scp(scp).values()))
    if len(files) > args.max_images:
        files = sorted(random.Random(args.seed).sample(files, args.max_images))
    shape = (args.size[0], args.size[-1], args.channels)
    stamp = Stamp(
        args.out_dir / "fit.done.json",
        inputs=[scp],
        options={
            "shape": shape,
            "patch": args.patch,
            "codebook_size": args.codebook_size,
            "seed": args.seed,
            "files": [(file, (info := os.stat(file)).st_size, info.st_mtime_ns) for file in files],
        },
        outputs=[args.out_dir / WEIGHTS, args.out_dir / RECORD],
    )
    if stamp.fresh():
        logging.info("%s is up to date", args.out_dir)
        return 0
    quantiser = PatchKMeans.fit(
        read_images(files, shape),
        codebook_size=args.codebook_size,
        patch=args.patch,
        seed=args.seed,
        device=args.device,
    )
    stamp.withdraw()
    quantiser.save(args.out_dir)
    stamp.write(**quantiser.info)
    logging.info(
        "%d codes, %d x %d tokens an image, squared error of a patch %.5g, %d codes without patches",
        quantiser.codebook_size,
        *quantiser.grid,
        quantiser.info["final_inertia"],
        quantiser.info["dead_clusters"],
    )
    return 0


if __name__ == "__main__":
    cli.run(main)
