"""A study of one option: the runs it needs, or its table and plot."""

import argparse
from pathlib import Path

from espnet_sld import cli


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "Without --plan: read the runs of a study and write <out>.md, <out>.json and, for a sweep,\n"
        "<out>.png and <out>.svg. What was not run is shown as such.\n"
        "With --plan: print the runs that the study needs, one a line: ROW OBJECTIVE CONFIG [OPTION …].",
        "python -m espnet_sld.bin.study --study alpha --asr_config conf/train.yaml --runs_dir exp/study \\\n"
        "    --sets dev --out exp/study/alpha",
    )
    parser.add_argument("--study", required=True, help="alpha, temperature or table (objectives)")
    parser.add_argument("--values", default="", help="what is tried, separated by spaces; empty: the paper's")
    parser.add_argument("--reference", default="none", help="objective that a sweep is compared with, or ''")
    parser.add_argument(
        "--asr_config", default="conf/train.yaml", help="training configuration; {objective} is replaced"
    )
    parser.add_argument(
        "--dev_loss", default="unmasked", choices=("unmasked", "masked"), help="of these runs"
    )
    parser.add_argument("--plan", action="store_true", help="print the runs only")
    parser.add_argument("--runs_dir", type=Path, default=Path("exp/study"), help="holds the run directories")
    parser.add_argument("--run_pattern", default="asr_sld_{row}_seed{seed}", help="name of a run directory")
    parser.add_argument("--decode_tag", default="decode_greedy", help="decoding to read")
    parser.add_argument("--sets", default="dev", help="columns, separated by commas")
    parser.add_argument(
        "--contrasts",
        default="",
        help="first:second, by commas; empty: each row with the reference",
    )
    parser.add_argument("--margin", type=float, default=0.5, help="equivalence margin, WER points")
    parser.add_argument("--resamples", type=int, default=10_000, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", type=Path, default=Path("exp/study/study"), help="files, without suffix")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = get_parser().parse_args(argv)
    from espnet_sld.errors import InputError
    from espnet_sld.scoring.run_info import read_yaml
    from espnet_sld.scoring.study import CONTROLS, plan_rows

    def config_of(objective: str) -> str:
        own = args.asr_config.replace("{objective}", objective)
        # the controls take their weights from SLD's α, ε and T
        return own if objective not in CONTROLS or Path(own).is_file() else config_of("sld")

    config = read_yaml(config_of("sld"), "name a training configuration with --asr_config")
    rows = plan_rows(
        args.study,
        args.values.split(),
        criterion_conf=config.get("criterion_conf"),
        reference=args.reference or None,
        masked=args.dev_loss == "masked",
    )
    if args.plan:
        lines = [(row.name, row.objective, config_of(row.objective), *row.options) for row in rows]
        if absent := [line[2] for line in lines if not Path(line[2]).is_file()]:
            raise InputError(f"{absent[0]}: no such file; write that objective's configuration first")
        print("\n".join(map(" ".join, lines)))
        return 0
    return _report(args, rows)


def _report(args: argparse.Namespace, rows: list) -> int:
    from espnet_sld.scoring.markdown import write_with_json
    from espnet_sld.scoring.plots import plot_sweep
    from espnet_sld.scoring.runs import read_runs, run_directories
    from espnet_sld.scoring.study import SWEEPS, build_study, render_study
    from espnet_sld.scoring.table import parse_contrasts

    names, sets = [row.name for row in rows], args.sets.split(",")
    runs = read_runs(args.runs_dir, names, sets, run_pattern=args.run_pattern, decode_tag=args.decode_tag)
    if args.contrasts:
        pairs = parse_contrasts(args.contrasts, names)
    elif args.study in SWEEPS:
        pairs = [(row.name, rows[0].name) for row in rows[1:]] if args.reference else []
    else:
        pairs = [("sld", other) for other in ("none", "ce") if {"sld", other} <= set(names)]
    directories = {name: run_directories(args.runs_dir, args.run_pattern, name) for name in names}
    chosen_by, extras = {}, {}
    for name, found in directories.items():
        chosen_by[name], extras[name] = _facts(list(found.values()))
    study = build_study(
        runs, rows, sets, pairs,
        chosen_by=chosen_by, extras=extras if args.study in SWEEPS else None,
        margin=args.margin, resamples=args.resamples, seed=args.seed,
    )  # fmt: skip
    sweep = SWEEPS.get(args.study)
    title = sweep.title if sweep else "Objectives (arXiv 2311.04534, Table 1)"
    text = render_study(study, title=title, symbol=sweep.symbol if sweep else "")
    if sweep:
        text += _EXTRAS_NOTE if any(extras.values()) else ""
        note = "; ".join(sorted({chosen for chosen in chosen_by.values() if chosen}))
        note = f"models chosen by {note}" if note else ""
        plot_sweep(study, args.out, symbol=sweep.symbol, title=sweep.title, note=note)
        text += f"\n![{title}]({args.out.name}.png)\n"
    write_with_json(Path(f"{args.out}.md"), text, study)
    print(text, end="")
    return 0


_EXTRAS_NOTE = (
    "\nq′: probability that the smoothed label (Eq. 5) gives to the true piece. λ: weight of the KL in units "
    "of cross entropy a speech token, α·T·N_KL/B over the training set.\n"
)


def _facts(directories: list[Path]) -> tuple[str | None, dict[str, float]]:
    """What the runs in `directories` were chosen by, and q′ and λ of their KL, as far as files say."""
    import json

    from espnet_sld.criteria.smoothing import matched_smoothing, smoothed_label
    from espnet_sld.scoring.run_info import read_run_info

    infos = [read_run_info(path) for path in directories if (path / "config.yaml").is_file()]
    if not infos:
        return None, {}
    info, conf = infos[0], infos[0].criterion_conf
    chosen = " or ".join(sorted({each.chosen_by for each in infos}))
    stats_file = info.stats_dir / "length_stats.json" if info.stats_dir else None
    if conf.get("objective") not in ("sld", "kl") or stats_file is None or not stats_file.is_file():
        return chosen, {}
    stats = json.loads(stats_file.read_text(encoding="utf-8"))
    pieces = stats["vocabulary"]["speech"]
    options = {name: conf.get(name, default) for name, default in (("epsilon", 0.1), ("temperature", 1.0))}
    label = smoothed_label(pieces, **options)
    weight, _ = matched_smoothing(
        alpha=conf.get("alpha", 0.008),
        kl_reduction=conf.get("kl_reduction", "utterance"),
        speech_vocabulary=pieces,
        # the first piece of a sequence is never a target
        kl_targets=stats["speech"]["total"] - stats["cut_tokens"] - stats["utterances"],
        utterances=stats["utterances"],
        **options,
    )
    return chosen, {"q′": label.excess + label.floor, "λ": weight - 1.0}


if __name__ == "__main__":
    cli.run(main)
