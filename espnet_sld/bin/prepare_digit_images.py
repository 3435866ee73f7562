"""Make image sets of the handwritten digits that scikit-learn carries, with captions."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
1797 handwritten digits of 8 x 8 pixels as image sets: train_digits (the first 1197 in the data's own order,
five captions each), dev_digits (200) and test_digits (400, mostly by other writers). Each has images.scp,
text and labels; dev and test have captions.tsv, all five references of every image. Nothing is downloaded."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(DESCRIPTION, "python3 -m espnet_sld.bin.prepare_digit_images --data_dir data")
    parser.add_argument("--data_dir", default="data", help="where the sets and the images are written")
    parser.add_argument(
        "--shifts", type=cli.str2bool, default=False, help="train also on copies moved by one pixel"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.digit_images import prepare

    for name, images in prepare(args.data_dir, shifts=args.shifts).items():
        print(f"{name}: {len(set(images.images.values()))} images, {len(images)} captions")
    return 0


if __name__ == "__main__":
    cli.run(main)
