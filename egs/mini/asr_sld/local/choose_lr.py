"""Choose every row's learning rate on dev: choose_lr.py TABLE_DIR "ROWS" "RATES" OUT.json"""

import json
import sys
from pathlib import Path

from espnet_sld.files import atomic_write


def main() -> None:
    table, rows, rates, out = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3].split(), Path(sys.argv[4])
    chosen = {}
    for row in rows:
        tried = {}
        for rate in rates:
            path = table / f"asr_sld_tune_{row}_lr{rate}" / "decode_greedy" / "dev" / "result.json"
            tried[rate] = json.loads(path.read_text())["wer"]
        best = min(tried, key=tried.get)
        chosen[row] = {"lr": best, "dev_wer": tried}
        print(row, best, tried)
    with atomic_write(out) as stream:
        json.dump(chosen, stream, indent=1)


main()
