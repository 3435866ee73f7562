"""Make data directories of LibriSpeech's parts, downloaded or from a copy, and of their unions."""

import argparse

from espnet_sld import cli

DESCRIPTION = """\
LibriSpeech as Kaldi data directories: one for every part, named after it (test_clean), and the unions
of the training and of the development parts. Speakers are <reader>-<chapter>, as in Kaldi's recipe.
Without --librispeech_dir the parts' archives are downloaded (60 GB for all seven, and as much again
unpacked), verified and unpacked. Run again to continue after a kill; what is there is not made again."""


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        DESCRIPTION,
        "python3 -m espnet_sld.bin.prepare_librispeech --librispeech_dir ~/corpora/LibriSpeech \\\n"
        '    --train_parts "train-clean-100" --train_set train_clean_100',
    )
    parser.add_argument(
        "--librispeech_dir", help="folder with SPEAKERS.TXT, or the one above; not given: downloaded"
    )
    parser.add_argument("--download_dir", default="downloads", help="where archives and parts go")
    parser.add_argument(
        "--data_url", default="https://www.openslr.org/resources/12", help="address that holds PART.tar.gz"
    )
    parser.add_argument(
        "--md5_file", help="checksums as md5sum writes them, of a mirror's own archives; else the published"
    )
    parser.add_argument(
        "--remove_archives", type=cli.str2bool, default=False, help="delete archives that are unpacked"
    )
    parser.add_argument("--data_dir", default="data", help="where the sets are written")
    parser.add_argument(
        "--train_parts",
        default="train-clean-100 train-clean-360 train-other-500",
        help="parts to train on, in one argument",
    )
    parser.add_argument("--train_set", default="train_960", help="name of their union")
    parser.add_argument("--dev_parts", default="dev-clean dev-other", help="parts to choose models on")
    parser.add_argument("--dev_set", default="dev", help="name of their union")
    parser.add_argument(
        "--test_parts", default="test-clean test-other dev-clean dev-other", help="parts to decode"
    )
    parser.add_argument("--case", choices=("lower", "upper"), default="lower", help="of the transcripts")
    parser.add_argument("--nj", type=int, default=8, help="threads that read flac headers")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.corpus import librispeech
    from espnet_sld.corpus.statistics import table

    selection = librispeech.Selection(
        *(tuple(getattr(args, f"{use}_parts").replace(",", " ").split()) for use in ("train", "dev", "test")),
        train_set=args.train_set,
        dev_set=args.dev_set,
    )
    root = args.librispeech_dir or librispeech.download(
        selection.parts,
        args.download_dir,
        url=args.data_url,
        md5_file=args.md5_file,
        remove_archives=args.remove_archives,
    )
    print(table(librispeech.prepare(root, args.data_dir, selection, case=args.case, nj=args.nj)))
    return 0


if __name__ == "__main__":
    cli.run(main)
