"""Stage 9: report.html of one experiment, and of all experiments of a recipe."""

import argparse
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Write <exp_dir>/report.html and <recipe_dir>/report.html: error rates with confidence intervals,\n"
        "curves, tokens, utterances with alignments and audio, commands; over a recipe, any two experiments\n"
        "side by side. One file each, which fetches nothing. Loads neither torch nor ESPnet.",
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
    from espnet_sld.scoring.report.build import Limits, write_experiment_report, write_recipe_report
    from espnet_sld.scoring.report.markup import size_words

    if args.exp_dir is None and args.recipe_dir is None:
        raise InputError("nothing to report: give --exp_dir, --recipe_dir or both")
    sizes = (args.audio_mb, args.text_mb, args.attention_mb)
    if min(*sizes, args.max_audio) < 0 or args.resamples < 100:
        raise InputError("--max_audio and the --…_mb must not be negative, --resamples at least 100")
    limits = Limits(args.max_audio, *(int(size * 1e6) for size in sizes), args.resamples)

    def read(raw_dir: Path, recipe: Path, name: str, utterances: Sequence[str]) -> Mapping:
        return read_samples(raw_dir, recipe, name, utterances, allow_pipes=args.allow_pipes)

    source = read if args.max_audio else None
    writers = []
    if args.exp_dir is not None:
        writers.append(lambda: write_experiment_report(args.exp_dir, source, limits, args.recipe_dir))
    if args.recipe_dir is not None:
        writers.append(lambda: write_recipe_report(args.recipe_dir, source, limits))
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


if __name__ == "__main__":
    cli.run(main)
