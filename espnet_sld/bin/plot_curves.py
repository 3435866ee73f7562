"""Loss curves of the objectives (arXiv 2311.04534, Fig. 3)."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Draw loss curves from the event files of finished or running trainings; write <out>.png and\n"
        "<out>.svg, a table of final and best values <out>.md, and all points <out>.json. Rows without a\n"
        "run are named. Lists are separated by commas.",
        "python -m espnet_sld.bin.plot_curves --runs_dir exp/study --parts ce_text,ce_speech \\\n"
        "    --out exp/study/curves",
    )
    parser.add_argument("--runs_dir", type=Path, required=True, help="holds the run directories")
    parser.add_argument("--rows", default="none,ce,label_smoothing,kl,sld", help="names of runs: {row}")
    parser.add_argument(
        "--parts", default="ce_text", help="figures: loss, ce_text, ce_speech, ce_smoothed, kl, acc_text …"
    )
    parser.add_argument("--phase", default="valid", choices=("valid", "train"), help="dev or training loss")
    parser.add_argument("--run_pattern", default="asr_sld_{row}_seed{seed}", help="name of a run directory")
    parser.add_argument("--out", type=Path, required=True, help="files to write, without suffix")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)

    from espnet_sld.files import atomic_write, write_json
    from espnet_sld.scoring.curve_table import curve_points, panels_of, render_curves, row_labels
    from espnet_sld.scoring.curves import read_run_curves
    from espnet_sld.scoring.plots import plot_curves

    rows, parts = args.rows.split(","), args.parts.split(",")
    runs = read_run_curves(args.runs_dir, rows, parts, phase=args.phase, run_pattern=args.run_pattern)
    panels = panels_of(runs, parts, args.phase)
    title = "Dev loss over training" if args.phase == "valid" else "Training loss"
    plot_curves(panels, args.out, title=title, labels=row_labels(rows))
    text = render_curves(runs, panels, title) + f"\n![{title}]({args.out.name}.png)\n"
    with atomic_write(f"{args.out}.md") as stream:
        stream.write(text)
    write_json(f"{args.out}.json", curve_points(runs))
    print(text, end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
