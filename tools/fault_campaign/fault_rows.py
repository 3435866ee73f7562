"""Rows of the campaigns in tools/test_slurm/faults.json and RESULTS.md, beside those of the cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))  # the package, also where it is not installed

from espnet_sld.files import atomic_write  # noqa: E402

RESULTS = REPO / "tools" / "test_slurm"
# Campaign → how the names of its rows begin. The kills of a training are those of test/tasks.
PREFIX = {"training": "training_", "kills": "kill_", "bad_data": "data_"}
TABLES = {"kills": ("training", "kills"), "bad_data": ("bad_data",)}
HEADING = "## Faults of the pipeline, without a cluster\n"
HEAD = {
    "kills": """
`tools/fault_campaign/kills.py`: a small recipe on real recordings (`egs/fsdd`, stages 1–10) is killed with
−9 at random moments, about half of the times every process at once, else `./run.sh` and its process group
alone, and the same command is started again at once. Within one training the kills are those of
`test/tasks/test_kill_campaign.py`, 20 with and 20 without a worker process and accumulation.

- *seconds*: the slowest way back, from the new start until the stage in which it was killed, on a busy
  machine of two cores.
- *survived*: the same command did the rest, without any other deed. *lost*: outputs that are gone or other
  than those of an undisturbed run at the end, and finished work (with a stamp) that was done again.

| fault | outcome | tried | survived | seconds | lost |
|---|---|---:|---:|---:|---:|
""",
    "bad_data": """
`tools/fault_campaign/bad_data.py`: malformed data directories and audio files (real recordings, spoilt) are
given to a recipe whose stages 1–5 were finished before.

- *outcome*: refused in a stage: exit 1 with one message that names the file or the utterance and the remedy,
  no traceback; accepted: what is made of it; and what `utils/fix_data_dir` does about it.
- *seconds*: until the command ended. *lost*: files that were finished before and are gone or changed.

| fault | outcome | tried | survived | seconds | lost |
|---|---|---:|---:|---:|---:|
""",
}


def record(campaign: str, rows: list[dict], folder: Path = RESULTS) -> None:
    """Put the rows of a campaign in the place of its earlier ones; the others stay as they are."""
    path, text = folder / "faults.json", folder / "RESULTS.md"
    content = json.loads(path.read_text(encoding="utf-8"))
    others = [row for row in content["rows"] if not _of(campaign, row)]
    content["rows"] = others + rows
    with atomic_write(path) as stream:
        stream.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    before, _, rest = text.read_text(encoding="utf-8").partition(f"\n{HEADING}")
    _, heading, behind = rest.partition("\n## ")
    before = before.rstrip("\n")
    with atomic_write(text) as stream:
        stream.write(f"{before}\n\n{HEADING}{section(content['rows'])}{heading}{behind}")


def section(rows: list[dict]) -> str:
    """The tables of all campaigns."""
    text = ""
    for campaign, head in HEAD.items():
        text += head
        for row in rows:
            if any(_of(part, row) for part in TABLES[campaign]):
                seconds = "" if row["seconds"] is None else f"{row['seconds']:.1f}"
                fault, outcome = (row[key].replace("|", "\\|") for key in ("fault", "outcome"))
                text += f"| {fault} | {outcome} | {row['tried']} | {row['survived']} |"
                text += f" {seconds} | {row['lost']} |\n"
    return text


def _of(campaign: str, row: dict) -> bool:
    return row.get("name", "").startswith(PREFIX[campaign])
