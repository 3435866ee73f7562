"""Choose every row's learning rate by WER on dev.

choose_lr.py TABLE_DIR "ROWS" "RATES" OUT.json    reads the tuning runs, writes the choice
choose_lr.py OUT.json ROW                         prints the rate chosen for one row
"""

import json
import sys
from pathlib import Path

from espnet_sld import cli
from espnet_sld.errors import InputError
from espnet_sld.files import atomic_write, read_json
from espnet_sld.scoring.result import read_result


def choose(table: Path, rows: list[str], rates: list[str], out: Path) -> None:
    """Of equal rates the first named is taken; a choice at the end of the list is remarked on."""
    chosen = {}
    for row in rows:
        runs = {rate: table / f"asr_sld_tune_{row}_lr{rate}" for rate in rates}
        tried = {rate: read_result(run / "decode_greedy/dev/result.json").wer for rate, run in runs.items()}
        best = min(tried, key=tried.get)
        chosen[row] = {"lr": best, "dev_wer": tried}
        others = [float(rate) for rate in rates if rate != best]
        inside = not others or min(others) < float(best) < max(others)
        remark = "" if inside else " (at the end of what was tried)"
        print(row, best, " ".join(f"{rate}: {wer:.2f} %" for rate, wer in tried.items()) + remark)
    with atomic_write(out) as stream:
        json.dump(chosen, stream, indent=1)
        stream.write("\n")


def main() -> int:
    if len(sys.argv) == 5:
        choose(Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split(), Path(sys.argv[4]))
    elif len(sys.argv) == 3:
        print(read_json(sys.argv[1])[sys.argv[2]]["lr"])
    else:
        raise InputError(__doc__)
    return 0


cli.run(main)
