"""Export the language model of a pack as a plain transformers directory."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write the language model alone as `transformers` reads it: config, safetensors weights, a\n"
        "generation config that allows text only and stops at <text_end>, and a tokenizer that decodes\n"
        "hypotheses.",
        "python -m espnet_sld.bin.export_lm --pack packed/x.zip --out_dir exported/x",
    )
    parser.add_argument("--pack", required=True, help="directory, zip, or user/model on the hub")
    parser.add_argument("--digest", help="as pack printed it; another pack is refused")
    parser.add_argument("--out_dir", type=Path, required=True, help="output directory")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.inference.export_hf import export_lm
    from espnet_sld.inference.unpack import Pack

    print(f"written: {export_lm(Pack.open(args.pack, digest=args.digest), args.out_dir)}")
    return 0


if __name__ == "__main__":
    cli.run(main)
