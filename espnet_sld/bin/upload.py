"""Upload a pack to the Hugging Face hub."""

import argparse
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Upload a pack's directory to the Hugging Face hub as one commit, by the hub's own client; log in\n"
        "first (`hf auth login`, or $HF_TOKEN).",
        "python -m espnet_sld.bin.upload --pack packed/x --repo_id user/x --dry_run true",
    )
    parser.add_argument("--pack", type=Path, required=True, help="a pack's directory (unpack a zip first)")
    parser.add_argument("--repo_id", required=True, help="user/model; made if it does not exist")
    parser.add_argument("--private", type=cli.str2bool, default=False, help="if it is made, private")
    parser.add_argument("--endpoint", help="another hub (if not given: $HF_ENDPOINT, else huggingface.co)")
    parser.add_argument(
        "--dry_run", type=cli.str2bool, default=False, help="verify, show what would be sent, send nothing"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.inference.hub import upload

    if not args.pack.is_dir():
        raise InputError(
            f"{args.pack}: not a directory; unpack it first (espnet_sld.bin.unpack --out_dir DIR)"
        )
    sent = upload(args.pack, args.repo_id, private=args.private, dry_run=args.dry_run, endpoint=args.endpoint)
    for name, size in sent:
        print(f"{size:>14,} {name}")
    print(f"{'would send' if args.dry_run else 'sent'} {len(sent)} files to {args.repo_id}")
    return 0


if __name__ == "__main__":
    cli.run(main)
