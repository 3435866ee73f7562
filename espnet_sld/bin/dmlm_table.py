"""The ablations of DMLM over seeds: which runs they need, and their table."""

import argparse
import shlex
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Rows of --rows_file over seeds: word error rates of recognition and translation, BLEU, right\n"
        "captions, cross entropies (bin.task_losses), and the declared contrasts (two-level bootstrap,\n"
        "Holm). Writes markdown, and JSON of the same name beside it. --plan trains and reads nothing:\n"
        "it prints the options of run.sh, a run a line. Lists are separated by commas.",
        "python -m espnet_sld.bin.dmlm_table --rows_file conf/ablations.yaml --runs_dir exp \\\n"
        "    --seeds 0,1,2,3,4 --asr_sets dev,test_strings --out exp/ablations/TABLE.md",
    )
    parser.add_argument("--rows_file", type=Path, required=True, help="YAML of rows and contrasts")
    parser.add_argument("--rows", default="", help="rows of it (if not given: all)")
    parser.add_argument("--table", default="ablations", help="runs are called dmlm_<table>_<row>_seed<seed>")
    parser.add_argument("--runs_dir", type=Path, default=Path("exp"), help="holds the run directories")
    for task, sets in (("asr", "dev,test"), ("st", "test"), ("caption", "test_digits")):
        parser.add_argument(f"--{task}_sets", default=sets, help="sets of that task; none: no set")
    parser.add_argument("--labels", default="data/{}/labels", help="image classes; {} stands for the set")
    parser.add_argument("--loss", help="<run>/losses/<this>.json of bin.task_losses is shown")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="of the runs, for --plan")
    parser.add_argument(
        "--plan", choices=("rows", "runs"), help="print the rows' options, or those of all runs, seed by seed"
    )
    parser.add_argument("--out", type=Path, help="markdown to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the plan, or write the table."""
    args = get_parser().parse_args(argv)

    from espnet_sld.scoring.ablation_rows import TASKS, read_ablations
    from espnet_sld.scoring.ablation_table import Wanted, build_ablation_table, render_ablation_table
    from espnet_sld.scoring.markdown import write_with_json

    ablations = read_ablations(args.rows_file)
    try:
        rows = ablations.chosen([name for name in args.rows.split(",") if name])
    except InputError as error:
        raise InputError(f"--rows: {error}") from None
    sets = {task: _names(getattr(args, f"{task}_sets")) for task in TASKS}
    if args.plan:
        seeds = args.seeds.split(",") if args.plan == "runs" else [""]
        for seed in seeds:  # outside, so that an early look compares equal numbers
            for row in rows:
                chosen = {task: sets[task] if task in row.tasks else [] for task in TASKS}
                words = [*row.options, "--tts_sets", "none"]
                for task, names in chosen.items():
                    words += [f"--{task}_sets", " ".join(names) or "none"]
                if seed:
                    words += ["--seed", seed, "--dmlm_tag", f"{args.table}_{row.name}_seed{seed}"]
                print(shlex.join(words) if seed else f"{row.name}\t{shlex.join(words)}")
        return 0
    if args.out is None:
        raise InputError("missing option: --out")
    table = build_ablation_table(
        args.runs_dir,
        rows,
        ablations.contrasts_of(rows),
        Wanted(sets, args.loss, f"dmlm_{args.table}_{{row}}_seed{{seed}}"),
        labels=args.labels,
        margin=ablations.margin,
        resamples=args.resamples,
        seed=args.seed,
    )
    text = render_ablation_table(table)
    write_with_json(args.out, text, table)
    print(text, end="")
    return 0


def _names(text: str) -> list[str]:
    return [] if text == "none" else [name for name in text.split(",") if name]


if __name__ == "__main__":
    cli.run(main)
