"""Make image sets of COCO's captions."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
COCO captions as image sets coco_{train,dev,test}: images.scp, text, for dev and test captions.tsv. Test is
the val part, dev a fixed draw from the training part; with --karpathy the sets are Karpathy's."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(DESCRIPTION, "python3 -m espnet_sld.bin.prepare_coco --coco_dir ~/corpora/coco")
    parser.add_argument("--coco_dir", required=True, help="folder of annotations/, train<year>/, val<year>/")
    parser.add_argument("--year", choices=("2014", "2017"), default="2017", help="which release")
    parser.add_argument("--dev_images", type=int, default=5000, help="training images kept for dev")
    parser.add_argument("--karpathy", help="dataset_coco.json: his splits of the 2014 images")
    parser.add_argument("--data_dir", default="data", help="where the sets are written")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus.coco import prepare

    sets = prepare(
        args.coco_dir, args.data_dir, year=args.year, dev_images=args.dev_images, karpathy=args.karpathy
    )
    for name, images in sets.items():
        print(f"{name}: {len(set(images.images.values()))} images, {len(images)} captions to learn")
    return 0


if __name__ == "__main__":
    cli.run(main)
