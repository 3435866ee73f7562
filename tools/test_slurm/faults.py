#!/usr/bin/env python3
"""Break things on a throw-away cluster while utils/slurm.py works, and measure what it makes of it.

usage: faults.py [--only NAME…] [--repeat N] [--out_dir DIR]

Writes faults.json (rows: fault, outcome, seconds, lost, …) and RESULTS.md, which says what they mean.
Exit code 1 if any row is not as expected.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import slurm_faults  # noqa: F401 - they register their cases
import step_faults  # noqa: F401
import task_faults  # noqa: F401
from available import unavailable
from cases import CASES
from cluster import Cluster
from workbench import Bench, Row

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from espnet_sld.files import atomic_write

HEAD = """# Faults on a real cluster

What `utils/slurm.py` makes of faults, measured by `tools/test_slurm/faults.py --repeat {repeat}` on {date},
on a throw-away cluster of two nodes ({version}, SlurmdTimeout 20 s), with `--poll-seconds 5`.

- *seconds*: from Slurm's own knowing (squeue asked five times a second) until the submitter noticed; 0 where
  the result file told it before. Where Slurm knows nothing, from the fault itself. The slowest of the runs.
- *lost*: tasks neither done in the end nor reported as failed, or of which two runs came to their end.

| fault | Slurm says | outcome | seconds | lost | runs |
|---|---|---|---:|---:|---:|
"""


def measure(case: Callable[[Bench], Row], cluster: Cluster, folder: Path) -> Row:
    """Run one case in a folder of its own; what it leaves in the queue is ended."""
    folder.mkdir(parents=True)
    bench = Bench(cluster, folder)
    try:
        row = case(bench)
    except AssertionError as error:
        row = Row(
            case.__doc__.splitlines()[0],
            "NOT AS EXPECTED: " + " / ".join(str(error).splitlines()),
            0.0,
            bench.tasks,
            expected=False,
        )
    finally:
        bench.close()
    row.name = case.__name__
    return row


def write(rows: list[Row], folder: Path, version: str, repeat: int) -> None:
    """faults.json and the table of RESULTS.md.

    Cases that were not run now keep their rows; so do other campaigns, whose rows stand behind in the one
    file and under headings of their own in the other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored, report = folder / "faults.json", folder / "RESULTS.md"
    earlier = json.loads(stored.read_text())["rows"] if stored.exists() else []
    others = [row for row in earlier if row["name"] not in CASES]
    kept = [row for row in earlier if row["name"] in set(CASES) - {new.name for new in rows}]
    rows = sorted(rows + [Row(**row) for row in kept], key=lambda row: list(CASES).index(row.name))
    record = {"slurm": version, "host": platform.platform(), "rows": [vars(row) for row in rows] + others}
    text = HEAD.format(version=version, repeat=repeat, date=time.strftime("%Y-%m-%d"))
    for name in dict.fromkeys(row.name for row in rows):
        same = [row for row in rows if row.name == name]
        worst = max(same, key=lambda row: (not row.expected, row.lost, row.seconds))
        text += f"| {worst.fault} | {worst.slurm} | {worst.outcome} | {worst.seconds:.1f} | {worst.lost} |"
        text += f" {len(same)} |\n"
    _, heading, sections = (report.read_text() if report.exists() else "").partition("\n## ")
    with atomic_write(stored) as stream:
        stream.write(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    with atomic_write(report) as stream:
        stream.write(text + heading + sections)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="*", help=f"of: {' '.join(CASES)}")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--out_dir", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    reason = unavailable()
    if reason:
        sys.exit(f"no Slurm cluster here: {reason}")
    names = options.only or list(CASES)
    rows: list[Row] = []
    work = Path(tempfile.mkdtemp(prefix="faults."))
    for cgroup in (False, True):
        chosen = [name for name in names if CASES[name].cgroup == cgroup]
        if not chosen:
            continue
        with Cluster(work / f"cluster{int(cgroup)}", cgroup=cgroup, bound=True) as cluster:
            version = cluster.command("sinfo", "--version")
            for name in chosen:
                for number in range(options.repeat if CASES[name].quick else 1):
                    row = measure(CASES[name].run, cluster, work / f"{name}.{number}")
                    rows.append(row)
                    print(f"{name}: {row.outcome} ({row.seconds:.1f} s, lost {row.lost})", flush=True)
    write(rows, options.out_dir, version, options.repeat)
    shutil.rmtree(work, ignore_errors=True)
    return int(not all(row.expected for row in rows))


if __name__ == "__main__":
    sys.exit(main())
