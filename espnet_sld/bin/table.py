"""The table of methods over seeds."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Methods over seeds in Table 1's layout, with declared contrasts (two-level bootstrap, Holm).\n"
        "Writes markdown, and JSON of the same name beside it. Lists are separated by commas.",
        "python -m espnet_sld.bin.table --runs_dir exp --out RESULTS_TABLE.md",
    )
    parser.add_argument("--runs_dir", type=Path, required=True, help="holds the run directories")
    parser.add_argument(
        "--rows", default="none,ce,label_smoothing,kl,sld,matched,ce_weighted", help="objectives"
    )
    parser.add_argument("--sets", default="dev,test,test_voices", help="columns")
    parser.add_argument("--contrasts", default="sld:none,sld:ce,sld:matched", help="first:second")
    parser.add_argument(
        "--contrast_sets",
        help="sets with contrasts, the deciding one first (if not given: --sets without dev*)",
    )
    parser.add_argument("--run_pattern", default="asr_sld_{row}_seed{seed}", help="name of a run directory")
    parser.add_argument("--decode_tag", default="decode_greedy", help="decoding to read")
    parser.add_argument("--margin", type=float, default=0.5, help="equivalence margin, WER points")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", type=Path, required=True, help="markdown to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)

    from espnet_sld.errors import InputError
    from espnet_sld.scoring.markdown import write_with_json
    from espnet_sld.scoring.results_md import is_development
    from espnet_sld.scoring.runs import read_runs
    from espnet_sld.scoring.table import build_table, parse_contrasts, render_table

    rows, sets = args.rows.split(","), args.sets.split(",")
    contrasts = parse_contrasts(args.contrasts, rows)
    if args.contrast_sets is None:
        contrast_sets = [name for name in sets if not is_development(name)]
    else:
        contrast_sets = [name for name in args.contrast_sets.split(",") if name]
    if unknown := [name for name in contrast_sets if name not in sets]:
        raise InputError(f"--contrast_sets {','.join(unknown)}: not among --sets {args.sets}")
    runs = read_runs(args.runs_dir, rows, sets, run_pattern=args.run_pattern, decode_tag=args.decode_tag)
    table = build_table(
        runs,
        rows,
        sets,
        contrasts,
        contrast_sets,
        margin=args.margin,
        resamples=args.resamples,
        seed=args.seed,
    )
    text = render_table(table)
    write_with_json(args.out, text, table)
    print(text, end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
