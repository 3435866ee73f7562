"""The ablation table of interAED-KD over seeds."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Training losses over seeds: WER, parameters at inference, speed, declared contrasts (two-level\n"
        "bootstrap, Holm). With --beam_tag a row ctc_beam: the models of row ctc, decoded by beam search.\n"
        "Speed is by CPU time where all decodings ran on a CPU, else by wall time. Writes markdown,\n"
        "and JSON of the same name beside it. Lists are separated by commas.",
        "python -m espnet_sld.bin.ctc_table --runs_dir exp/table --sets dev,test_trigram \\\n"
        "    --beam_tag decode_beam --out exp/table/TABLE.md",
    )
    parser.add_argument("--runs_dir", type=Path, required=True, help="holds the run directories")
    parser.add_argument(
        "--rows", default="ctc,interctc,aed,aed_kd,interaed,interaed_kd,ctc_kd", help="rows of the table"
    )
    parser.add_argument("--sets", default="dev,test", help="columns")
    parser.add_argument(
        "--contrasts", default="interaed_kd:ctc,interaed_kd:aed_kd,aed_kd:ctc", help="first:second"
    )
    parser.add_argument("--run_pattern", default="{row}_seed{seed}", help="name of a run directory")
    parser.add_argument("--decode_tag", default="decode_greedy", help="decoding to read")
    parser.add_argument("--beam_tag", help="decoding of row ctc that is shown as row ctc_beam")
    parser.add_argument("--speed_set", help="set of the real-time factors (if not given: the last of --sets)")
    parser.add_argument(
        "--speed_tags", default="", help="heading=decode tag of further real-time factors, greedy decodings"
    )
    parser.add_argument("--margin", type=float, default=0.5, help="equivalence margin, WER points")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", type=Path, required=True, help="markdown to write")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the table."""
    args = get_parser().parse_args(argv)

    from espnet_sld.errors import InputError
    from espnet_sld.scoring.ctc_table import (
        BEAM,
        ROWS,
        build_ctc_table,
        read_ctc_runs,
        render_ctc_table,
        speeds,
    )
    from espnet_sld.scoring.markdown import write_with_json
    from espnet_sld.scoring.table import parse_contrasts

    rows, sets = args.rows.split(","), args.sets.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        raise InputError(f"--rows {unknown[0]}: no such row; there are: {', '.join(ROWS)}")
    if args.beam_tag and "ctc" not in rows:
        raise InputError("--beam_tag shows the models of row ctc, which is not among --rows")
    tags = dict(item.split("=", 1) for item in args.speed_tags.split(",") if "=" in item)
    if len(tags) != len([item for item in args.speed_tags.split(",") if item]):
        raise InputError(f"--speed_tags '{args.speed_tags}': expected heading=tag,heading=tag")
    shown = [*rows, *([BEAM] if args.beam_tag else [])]
    runs = read_ctc_runs(
        args.runs_dir,
        rows,
        sets,
        run_pattern=args.run_pattern,
        decode_tag=args.decode_tag,
        beam_tag=args.beam_tag,
    )
    pairs = parse_contrasts(args.contrasts, shown)
    speed_set = args.speed_set or sets[-1]
    speed = speeds(args.runs_dir, rows, tags, speed_set, args.run_pattern)
    if args.beam_tag:
        beam = speeds(args.runs_dir, ["ctc"], {"one by one": args.beam_tag}, speed_set, args.run_pattern)
        speed[BEAM] = beam["ctc"]
    table = build_ctc_table(
        runs,
        shown,
        sets,
        pairs,
        speed,
        speed_set=speed_set,
        margin=args.margin,
        resamples=args.resamples,
        seed=args.seed,
    )
    text = render_ctc_table(table)
    write_with_json(args.out, text, table)
    print(text, end="")
    return 0


if __name__ == "__main__":
    cli.run(main)
