"""Parts and unions of Kaldi data directories."""

import argparse
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError

DESCRIPTION = "Take a subset of a Kaldi data directory, split it into shards, or combine several."


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(DESCRIPTION, "utils/subset_data_dir data/train data/train_1k --shortest 1000")
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, example: str) -> argparse.ArgumentParser:
        command = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=f"example:\n  {example}",
            formatter_class=cli.Formatter,
            allow_abbrev=False,
        )
        command.add_argument("--no_text", action="store_true", help="transcripts are not needed")
        command.add_argument(
            "--allow_pipes", type=cli.str2bool, default=False, help="accept commands in wav.scp"
        )
        return command

    part = add(
        "subset", "Some utterances of a directory.", "utils/subset_data_dir data/train out --sample 500"
    )
    part.add_argument("dir", help="data directory")
    part.add_argument("out_dir", help="where the subset goes")
    how = part.add_mutually_exclusive_group(required=True)
    how.add_argument("--first", type=int, help="this many utterances in C order")
    how.add_argument("--shortest", type=int, help="this many of the least duration")
    how.add_argument("--sample", type=int, help="this many at random")
    how.add_argument("--utt_list", help="file with an utterance id first on each line")
    how.add_argument("--spk_list", help="file with a speaker id first on each line")
    part.add_argument("--seed", type=int, default=0, help="of --sample")

    shards = add(
        "split",
        "DIR/splitN/1 … N (or OUT_DIR/1 … N), of about equal duration.",
        "utils/split_data_dir data/train 8",
    )
    shards.add_argument("dir", help="data directory")
    shards.add_argument("num_shards", type=int, help="number of shards")
    shards.add_argument("--out_dir", help="default: DIR/split<N>")

    union = add("combine", "The union of directories.", "utils/combine_data data/all data/a data/b")
    union.add_argument("out_dir", help="where the union goes")
    union.add_argument("dirs", nargs="+", help="data directories")
    return parser


def _first_column(path: str | None) -> list[str] | None:
    if path is None:
        return None
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; write one id a line") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    return [line.split()[0] for line in lines if line.strip()]


def _refuse_own_output(out_dir: str, dirs: list[str]) -> None:
    """Writing a part or a union over its own input would lose utterances."""
    if Path(out_dir).resolve() in {Path(path).resolve() for path in dirs}:
        raise InputError(f"{out_dir}: is an input too and would be overwritten; give another directory")


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus import partition
    from espnet_sld.corpus.data_dir import DataDir

    def read(path: str) -> DataDir:
        # A recipe's first look at its data: what is missing is told now, all of it, not stages later.
        look = args.command == "combine"
        return DataDir.read(path, text=not args.no_text, allow_pipes=args.allow_pipes, check_files=look)

    if args.command == "subset":
        _refuse_own_output(args.out_dir, [args.dir])
        results = {
            args.out_dir: partition.subset(
                read(args.dir),
                first=args.first,
                shortest=args.shortest,
                sample=args.sample,
                seed=args.seed,
                utterances=_first_column(args.utt_list),
                speakers=_first_column(args.spk_list),
            )
        }
    elif args.command == "split":
        data, out_dir = read(args.dir), args.out_dir or f"{args.dir}/split{args.num_shards}"
        if args.num_shards > len(data):
            raise InputError(
                f"{args.dir}: {len(data)} utterances cannot be split into {args.num_shards} shards; "
                "lower --nj"
            )
        shards = partition.split(data, args.num_shards)
        results = {f"{out_dir}/{index}": shard for index, shard in enumerate(shards, 1)}
    else:
        _refuse_own_output(args.out_dir, args.dirs)
        results = {args.out_dir: partition.combine([read(path) for path in args.dirs])}
    for path, data in results.items():
        data.write(path)
        print(f"{path}: {len(data)} utterances")
    return 0


if __name__ == "__main__":
    cli.run(main)
