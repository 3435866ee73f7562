"""Table 1 of the SLD paper with our figures beside its own."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "The SLD paper's Table 1 on LibriSpeech: its WER, ours with the counts behind them, and\n"
        "significance of SLD against loss masking and multimodal cross entropy. What was not\n"
        "run is shown as such. Writes markdown, and JSON of the same name beside it.",
        "python -m espnet_sld.bin.paper_table --runs wavlm=exp/study_wavlm hubert=exp/study_hubert \\\n"
        "    --out exp/TABLE1.md",
    )
    parser.add_argument(
        "--runs",
        nargs="*",
        default=[],
        metavar="GROUP=DIR",
        help="wavlm=DIR, hubert=DIR: the runs' folders",
    )
    parser.add_argument("--run_pattern", default="asr_sld_{row}_seed{seed}", help="name of a run directory")
    parser.add_argument("--decode_tag", default="decode_greedy", help="decoding to read")
    parser.add_argument("--margin", type=float, default=0.1, help="equivalence margin, WER points")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", type=Path, required=True, help="markdown to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)

    from espnet_sld.errors import InputError
    from espnet_sld.scoring.markdown import write_with_json
    from espnet_sld.scoring.paper_table import build_paper_table, no_runs, render_paper_table
    from espnet_sld.scoring.published import SETS, TABLE1
    from espnet_sld.scoring.run_info import read_run_info
    from espnet_sld.scoring.runs import read_runs, run_directories

    places = {}
    for item in args.runs:
        group, separator, directory = item.partition("=")
        if not separator or group not in TABLE1 or not directory:
            raise InputError(f"--runs {item}: expected {' or '.join(f'{name}=DIR' for name in TABLE1)}")
        if not Path(directory).is_dir():
            raise InputError(f"--runs {item}: no such directory; leave {group} out if it was not run")
        places[group] = Path(directory)
    groups, chosen_by = {}, {}
    for group, rows in TABLE1.items():
        chosen_by[group] = {}
        if group not in places:
            groups[group] = no_runs(group)
            continue
        layout = {"run_pattern": args.run_pattern, "decode_tag": args.decode_tag}
        groups[group] = read_runs(places[group], list(rows), SETS, **layout, allow_none=True)
        for row in rows:
            found = run_directories(places[group], args.run_pattern, row).values()
            infos = [read_run_info(path) for path in found if (path / "config.yaml").is_file()]
            if infos:
                chosen_by[group][row] = " or ".join(sorted({info.chosen_by for info in infos}))
    table = build_paper_table(
        groups, chosen_by=chosen_by, margin=args.margin, resamples=args.resamples, seed=args.seed
    )
    text = render_paper_table(table)
    write_with_json(args.out, text, table)
    print(text, end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
