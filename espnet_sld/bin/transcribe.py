"""espnet-sld-transcribe: sound files to text with a packed model."""

import argparse
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write

if TYPE_CHECKING:
    import numpy as np

    from espnet_sld.inference.speech2text import Speech2Text

PROGRAM = "espnet-sld-transcribe"


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Transcribe sound files of any format that soundfile reads (wav, flac, mp3, ogg, …), at any rate;\n"
        "channels are averaged, long recordings cut at pauses. A file that cannot be read gives one message\n"
        "on stderr; the others are done, and the exit code is 1 at the end.",
        f"{PROGRAM} --model packed/x.zip --format srt --out_dir subtitles talk1.mp3 talk2.flac",
    )
    parser.prog = PROGRAM
    parser.add_argument("files", nargs="+", metavar="FILE", help="sound files")
    parser.add_argument("--model", required=True, help="pack: directory, zip, or user/model on the hub")
    parser.add_argument("--digest", help="of the pack; another one is refused")
    parser.add_argument("--revision", help="branch, tag or commit on the hub")
    parser.add_argument("--frontend_source", help="local checkpoint of the front-end, if the pack has none")
    parser.add_argument(
        "--format", choices=("txt", "jsonl", "srt", "ctm"), default="txt", help="txt: file, tab, text"
    )
    parser.add_argument("--out_dir", type=Path, help="write a file for each input there, not to stdout")
    parser.add_argument(
        "--word_times",
        type=cli.str2bool,
        default=False,
        help="jsonl: with words; srt and ctm always have them",
    )
    parser.add_argument("--batch_seconds", type=float, default=60.0, help="audio worked on at once")
    parser.add_argument(
        "--max_segment_seconds",
        type=float,
        help="cut longer recordings (if not given: by the model's positions)",
    )
    parser.add_argument("--beam_size", type=int, help="1: greedy (if not given: the pack's)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    logging.getLogger().setLevel(logging.WARNING)  # stderr is for what is wrong with the files
    names = _names(args)
    if not 0 < args.batch_seconds < math.inf:
        raise InputError(f"--batch_seconds {args.batch_seconds}: must be positive")
    from espnet_sld.inference.formats import WITH_WORDS, render
    from espnet_sld.inference.speech2text import Speech2Text

    speech2text = Speech2Text.from_pretrained(
        args.model,
        device=args.device,
        digest=args.digest,
        revision=args.revision,
        frontend_source=args.frontend_source,
    )
    options = {} if args.beam_size is None else {"beam_size": args.beam_size}
    failed = 0
    for batch in _batches(speech2text, args.files, args.batch_seconds):
        waves = [wave for _, wave in batch if not isinstance(wave, InputError)]
        done = iter(
            speech2text.transcribe(
                waves,
                args.word_times or args.format in WITH_WORDS,
                args.max_segment_seconds,
                args.batch_seconds,
                **options,
            )
        )
        for number, wave in batch:
            if isinstance(wave, InputError):
                failed += 1
                print(f"{PROGRAM}: {wave}", file=sys.stderr, flush=True)
                continue
            shown = names[number] if args.format == "ctm" else args.files[number]
            text = render(next(done), shown, args.format)
            if args.out_dir:
                with atomic_write(args.out_dir / f"{names[number]}.{args.format}") as stream:
                    stream.write(text)
            else:
                _print(text, sys.stdout)
    if failed:
        print(f"{PROGRAM}: {failed} of {len(args.files)} files could not be transcribed", file=sys.stderr)
    return 1 if failed else 0


def entry() -> None:
    """The installed command."""
    cli.run(main)


def _names(args: argparse.Namespace) -> list[str]:
    """What each recording is called where a path cannot stand: the file's name without suffix, once each."""
    names = [Path(file).stem for file in args.files]
    if args.format == "srt" and not args.out_dir and len(names) > 1:
        raise InputError("subtitles of several files need --out_dir: one srt holds one recording")
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled and (args.out_dir or args.format == "ctm"):
        raise InputError(f"several files are called '{doubled[0]}'; transcribe them one by one")
    return names


def _batches(
    speech2text: "Speech2Text", files: list[str], seconds: float
) -> Iterator[list[tuple[int, "np.ndarray | InputError"]]]:
    """Files in their order, read as they are needed: (number, samples or what is wrong with the file)."""
    batch: list[tuple[int, np.ndarray | InputError]] = []
    held = 0.0
    for number, file in enumerate(files):
        try:
            wave: np.ndarray | InputError = speech2text.read(file)
            held += len(wave) / speech2text.rate
        except InputError as error:
            wave = error
        batch.append((number, wave))
        if held >= seconds:
            yield batch
            batch, held = [], 0.0
    if batch:
        yield batch


def _print(text: str, stream: TextIO) -> None:
    stream.write(text)
    stream.flush()


if __name__ == "__main__":
    entry()
