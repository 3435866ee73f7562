"""Token list of a recogniser on a Hugging Face tokenizer's vocabulary, e.g. its teacher's (stage 6)."""

import argparse
import logging
from pathlib import Path

from espnet_sld import cli
from espnet_sld.files import atomic_write


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write tokens.txt: <blank>, <unk>, the tokenizer's tokens without its specials, <sos/eos>.",
        "python -m espnet_sld.bin.hf_token_list --model models/bert --out data/token_list/hf_bert/tokens.txt",
    )
    parser.add_argument("--model", required=True, help="tokenizer: a directory, or a name on the hub")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the list."""
    args = get_parser().parse_args(argv)
    from espnet_sld.tokens.target_ids import hf_token_list

    tokens = hf_token_list(args.model)
    with atomic_write(args.out) as stream:
        stream.writelines(f"{token}\n" for token in tokens)
    logging.info("%s: %d tokens", args.out, len(tokens))
    return 0


if __name__ == "__main__":
    cli.run(main)
