"""Around a stock ESPnet decoder: key files before it, one hypothesis file and a report after it."""

import argparse
import json
import logging
import re
from datetime import datetime
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_table, write_json, write_table
from espnet_sld.stamps import Stamp

READY = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) .*INFO: Text tokenizer: "
)  # the decoders' own log


def get_parser() -> argparse.ArgumentParser:
    parser = cli.get_parser(
        "split: keys.1 … keys.N for the jobs of espnet2.bin.*_inference; prints `done` where the hypotheses\n"
        "of this model and configuration are there already.\n"
        "join: their output.<n>/1best_recog/text to one Kaldi text, with a report for scoring.",
        "python -m espnet_sld.bin.espnet_shards split --keys dump/raw/test/text.rm.mfcc_km200 \\\n"
        "    --model exp/asr2_x/valid.acc.ave.pth --config conf/decode_asr2.yaml \\\n"
        "    --out_dir exp/asr2_x/decode_beam/test --num_shards 4",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    cut = commands.add_parser("split", help="write key files", formatter_class=cli.Formatter)
    join_parser = commands.add_parser("join", help="join what the jobs wrote", formatter_class=cli.Formatter)
    join_parser.add_argument("--utt2dur", type=Path, required=True, help="seconds of each utterance")
    join_parser.add_argument("--seed", type=int, help="seed of the training, for the report")
    join_parser.add_argument("--strip_task", default="", help="prefix of the decoder's ids, e.g. asr_")
    join_parser.add_argument("--after", default="", help="take what follows this symbol, e.g. <generatetext>")
    join_parser.add_argument("--name", default="espnet2 discrete_asr", help="the model, for the report")
    for command in (cut, join_parser):
        command.add_argument(
            "--keys", type=Path, required=True, help="Kaldi table with the utterances, the input"
        )
        command.add_argument("--model", type=Path, required=True, help="checkpoint that decodes")
        command.add_argument("--config", type=Path, required=True, help="configuration of the decoder")
        command.add_argument("--out_dir", type=Path, required=True, help="…/<decode_tag>/<set>; jobs in log/")
        command.add_argument("--num_shards", type=int, required=True, help="N")
    return parser


def decoding_stamp(out_dir: Path, keys: Path, model: Path, config: Path) -> Stamp:
    """Tells whether `out_dir` has the hypotheses of this input, model and configuration."""
    return Stamp(
        out_dir / "decode.done.json",
        inputs=[keys, model, config],
        options={},
        outputs=[out_dir / "text", out_dir / "decode.json"],
    )


def split_keys(out_dir: Path, num_shards: int, keys: Path, model: Path, config: Path) -> bool:
    """Deal the utterances out to `log/keys.1 … N`; False, and nothing done, if all is decoded already."""
    stamp = decoding_stamp(out_dir, keys, model, config)
    if stamp.fresh():
        return False
    stamp.withdraw()
    utterances = sorted(read_table(keys))
    if not 1 <= num_shards <= len(utterances):
        raise InputError(f"{keys}: {len(utterances)} utterances cannot go to {num_shards} jobs; change --nj")
    for shard in range(num_shards):
        with atomic_write(out_dir / "log" / f"keys.{shard + 1}") as stream:
            stream.writelines(f"{utterance} -\n" for utterance in utterances[shard::num_shards])
    return True


def join_shards(
    out_dir: Path,
    num_shards: int,
    keys: Path,
    model: Path,
    config: Path,
    utt2dur: Path,
    *,
    name: str,
    seed: int | None = None,
    strip_task: str = "",
    after: str = "",
) -> None:
    """Join the jobs' hypotheses; time is the sum of the jobs' own, from the loaded model on, as for SLD.

    Args:
        name, seed: for the report.
        strip_task: prefix of the ids that is taken off.
        after: of each hypothesis only what follows this symbol is kept (lm_multitask repeats its prompt).

    Raises:
        InputError: a job has no output, or an utterance is missing from it (as ESPnet leaves one out that is
            too short for its encoder).
    """
    log, shards = out_dir / "log", range(1, num_shards + 1)
    outputs = [log / f"output.{shard}" / "1best_recog" / "text" for shard in shards]
    results = [log / f"decode.{shard}.json" for shard in shards]
    lacking = [str(path) for path in (*outputs, *results) if not path.exists()]
    if lacking:
        raise InputError(f"{lacking[0]}: missing; run stage 8 again")
    hypotheses = {}
    for shard, path in enumerate(outputs, 1):
        expected = set(read_table(log / f"keys.{shard}"))
        found = read_table(path, allow_empty_value=True)
        absent = sorted(expected - set(found))
        if absent:
            raise InputError(
                f"{path}: {len(absent)} utterances have no hypothesis, first {absent[0]}; "
                f"see {log}/decode.{shard}.log"
            )
        hypotheses |= {
            utterance.removeprefix(strip_task): found[utterance].rpartition(after)[2].strip()
            if after
            else found[utterance]
            for utterance in expected
        }
    durations = read_table(utt2dur)
    audio = sum(float(durations[utterance]) for utterance in hypotheses)
    jobs = [json.loads(path.read_text(encoding="utf-8")) for path in results]
    loading = sum(
        seconds_of_loading(path.with_suffix(".log"), job["started"])
        for path, job in zip(results, jobs, strict=True)
    )
    seconds = sum(job["seconds"] for job in jobs) - loading
    write_table(out_dir / "text", hypotheses)
    record = {
        "model": name,
        "objective": "espnet2",
        "checkpoint": model.name,
        "n_params": number_of_parameters(model),
        "seed": seed,
        "utterances": len(hypotheses),
        "audio_seconds": audio,
        "decode_seconds": seconds,
        "load_seconds": loading,
        "cpu_seconds": sum(job["cpu_seconds"] for job in jobs),  # loading included
        "rtf": seconds / audio if audio else None,
        "jobs": num_shards,
    }
    write_json(out_dir / "decode.json", record)
    decoding_stamp(out_dir, keys, model, config).write(utterances=len(hypotheses))
    logging.info("%s: %d hypotheses in %.1f s", out_dir, len(hypotheses), seconds)


def seconds_of_loading(log: Path, started: float) -> float:
    """From a job's start until its log says that the model is there; 0 if it never does.

    Args:
        started: seconds since the epoch.
    """
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        if match := READY.search(line):
            return max(0.0, datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f").timestamp() - started)
    return 0.0


def number_of_parameters(checkpoint: Path) -> int:
    """Weights of an ESPnet checkpoint; batch norm's running values are not among them."""
    import torch

    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    buffers = ("running_mean", "running_var", "num_batches_tracked", ".pe")
    return sum(value.numel() for key, value in state.items() if not key.endswith(buffers))


def main(argv: list[str] | None = None) -> int:
    args = vars(get_parser().parse_args(argv))
    command = args.pop("command")
    if command == "split":
        if not split_keys(**args):
            print("done")
    else:
        join_shards(**args)
    return 0


if __name__ == "__main__":
    cli.run(main)
