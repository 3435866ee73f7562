"""Stage 9: report.html of one experiment, and of all experiments of a recipe."""

import argparse
import base64
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_sld import cli

SMALL = 2000  # bytes of an image that is embedded as it is
SIDE = 160  # pixels of one that is not


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write <exp_dir>/report.html and <recipe_dir>/report.html: results with confidence intervals,\n"
        "curves, tokens, utterances with alignments and audio, synthesised speech, captions with images,\n"
        "commands; over a recipe, any two experiments side by side. One file each, which fetches nothing.\n"
        "Loads neither torch nor ESPnet.",
        "python -m espnet_sld.bin.report --exp_dir exp/asr_sld_x --recipe_dir .",
    )
    what = parser.add_argument_group("what is reported (one or both)")
    what.add_argument("--exp_dir", type=Path, help="an experiment with scored sets; its page goes into it")
    what.add_argument(
        "--recipe_dir", type=Path, help="a recipe's folder; a page over all its exp*/ goes into it"
    )
    size = parser.add_argument_group("how large a page may become")
    size.add_argument("--max_audio", type=int, default=60, help="utterances that can be played; 0: none")
    size.add_argument("--audio_mb", type=float, default=6.0, help="most megabytes of audio")
    size.add_argument("--text_mb", type=float, default=8.0, help="most megabytes of transcripts")
    size.add_argument("--attention_mb", type=float, default=4.0, help="most megabytes of attention")
    parser.add_argument("--resamples", type=int, default=10_000, help="of every bootstrap")
    parser.add_argument(
        "--allow_pipes", type=cli.str2bool, default=False, help="run the commands that wav.scp may hold"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.errors import InputError
    from espnet_sld.scoring.report.build import write_experiment_report, write_recipe_report
    from espnet_sld.scoring.report.markup import size_words
    from espnet_sld.scoring.report.media import Limits

    if args.exp_dir is None and args.recipe_dir is None:
        raise InputError("nothing to report: give --exp_dir, --recipe_dir or both")
    sizes = (args.audio_mb, args.text_mb, args.attention_mb)
    if min(*sizes, args.max_audio) < 0 or args.resamples < 100:
        raise InputError("--max_audio and the --…_mb must not be negative, --resamples at least 100")
    limits = Limits(args.max_audio, *(int(size * 1e6) for size in sizes), args.resamples)

    def read(raw_dir: Path, recipe: Path, name: str, utterances: Sequence[str]) -> Mapping:
        return read_samples(raw_dir, recipe, name, utterances, allow_pipes=args.allow_pipes)

    source = read if args.max_audio else None
    exp_dir, recipe_dir = args.exp_dir, args.recipe_dir
    writers = []
    if exp_dir is not None:
        writers.append(lambda: write_experiment_report(exp_dir, source, limits, recipe_dir, read_pictures))
    if recipe_dir is not None:
        writers.append(lambda: write_recipe_report(recipe_dir, source, limits, read_pictures))
    for write in writers:
        started = time.perf_counter()
        made = write()
        print(
            f"{made.path}: {made.systems} decodings, {made.utterances} utterances, {made.audio} with audio, "
            f"{size_words(made.size)}, {time.perf_counter() - started:.1f} s",
            file=sys.stderr,
        )
    return 0


def read_samples(
    raw_dir: Path, recipe: Path, name: str, utterances: Sequence[str], *, allow_pipes: bool = False
) -> dict:
    """Samples (n,) float32 at 16 kHz of some utterances of a set; those that cannot be read are absent.

    Args:
        raw_dir: `dump/raw`, whose `org/<name>` or `<name>` is a data directory.
        recipe: the folder that relative paths in wav.scp start from.
    """
    from espnet_sld.corpus.audio import utterances as read_utterances
    from espnet_sld.corpus.checks import is_pipe
    from espnet_sld.corpus.data_dir import DataDir
    from espnet_sld.errors import InputError

    folders = [path for path in (raw_dir / "org" / name, raw_dir / name) if (path / "wav.scp").is_file()]
    if not folders:
        return {}
    try:
        data = DataDir.read(folders[0], text=False, allow_pipes=allow_pipes)
    except InputError as error:
        logging.warning("no audio of %s: %s", name, error)
        return {}
    data = data.select(set(utterances) & set(data.utt2spk))
    data.wav = {
        key: value if is_pipe(value) or Path(value).is_absolute() else str(recipe / value)
        for key, value in data.wav.items()
    }
    samples = read_utterances(
        data,
        allow_pipes=allow_pipes,
        channels="mean",
        on_error=lambda utterance, error: logging.warning("no audio of %s: %s", utterance, error),
    )
    return dict(samples)


def read_pictures(folders: Sequence[Path], recipe: Path, name: str, ids: Sequence[str]) -> dict[str, str]:
    """Images of a set as `data:` addresses; those that cannot be read are absent.

    Args:
        folders: where `<name>/images.scp` may be. recipe: the folder that its paths start from.
    """
    from espnet_sld.errors import InputError
    from espnet_sld.files import read_table

    paths = [folder / name / "images.scp" for folder in folders]
    table = next((path for path in paths if path.is_file()), None)
    if table is None:
        return {}
    files, found = read_table(table), {}
    for key in ids:
        if key in files:
            try:
                found[key] = picture_address(recipe / files[key])
            except InputError as error:
                logging.warning("no image of %s: %s", key, error)
    return found


def picture_address(path: Path) -> str:
    """An image as a `data:` address: a small PNG as it is, else made smaller than `SIDE` pixels.

    Raises:
        InputError: it cannot be read.
    """
    import io

    import numpy as np
    from PIL import Image

    from espnet_sld.images.read import read_image

    if path.suffix == ".png" and path.is_file() and path.stat().st_size <= SMALL:
        content, kind = path.read_bytes(), "png"
    else:
        pixels = np.rint(read_image(path) * 255).astype(np.uint8)
        picture = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
        picture.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=80)
        content, kind = stream.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


if __name__ == "__main__":
    cli.run(main)
