#!/usr/bin/env python3
"""kill -9 at random moments of a whole pipeline: at the end everything must be as in an undisturbed run.

usage: kills.py --recordings DIR [--kills 50] [--seed 0] [--write]

A small recipe on real recordings is run undisturbed, then in rounds: in each it is killed once in nearly
every stage, the same command being started again each time, until it comes to its end. DIR is a Free Spoken
Digit Dataset. About half of the kills end every process of the run, the others ./run.sh's group alone.

- tried: kills.  survived: those after which the same command did the rest without any other deed.
- lost: outputs that are gone or differ at the end, and finished work (recorded in a stamp) done again.

--write puts the rows into tools/test_slurm/faults.json and RESULTS.md. Exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from digits import Run, copy_recipe, end_all, few_recordings
from fault_rows import record
from outputs import differences, snapshot, stamps, temporaries

# One kill each; the second one of training comes between the begin of the training itself and its end.
TRAINING = "training itself"
PLAN = (4, TRAINING, 8, 3, 5, 7, 6, 2, 1, 9, 10)
PER_ROUND = 10
NAMES = {
    1: "corpus to data directories",
    2: "speed perturbation",
    3: "k-means",
    4: "units",
    5: "SentencePiece, token lists",
    6: "shapes",
    7: "training",
    8: "decoding",
    9: "scoring",
    10: "packing",
}
SAVED_WITH = 0.2  # seconds between an epoch's model and the state that is saved with it
BEGUN, ENDED = "exp/asr_sld_*/train.begun.json", "exp/asr_sld_*/train.done.json"


@dataclasses.dataclass
class Kill:
    """One kill -9: where it was meant to come and came, and what became of it."""

    round: int
    planned: int | str
    everything: bool
    stage: int = 0
    moment: float = 0.0  # seconds after the stage, or the training itself, began
    back: float = 0.0  # seconds from the next start until that stage began again
    mid_epoch: bool = False  # the training's last saved state was one within an epoch
    survived: bool = False


class Campaign:
    """Rounds of kills in a folder.

    Args:
        work: an empty folder; each round has one in it.
        fsdd_dir: recordings.
        seed: of the moments.
    """

    def __init__(self, work: Path, fsdd_dir: Path, seed: int):
        self.work = work
        self.fsdd_dir = few_recordings(fsdd_dir, work / "recordings")
        self.random = random.Random(seed)
        self.kills: list[Kill] = []
        self.problems: list[str] = []
        self.lost = self.left_over = 0

    def undisturbed(self) -> None:
        """The run that the others are compared with; measures the stages."""
        folder = copy_recipe(self.work / "undisturbed")
        run = Run(folder, self.fsdd_dir, self.work / "undisturbed.log")
        if run.wait():
            sys.exit(f"the undisturbed run failed: {run.log}\n{run.log.read_text()[-2000:]}")
        self.expected = snapshot(folder)
        times = run.times
        self.seconds: dict[int | str, float] = {s: times[s + 1] - times[s] for s in NAMES}
        (begun,), (ended,) = folder.glob(BEGUN), folder.glob(ENDED)
        self.seconds[TRAINING] = ended.stat().st_mtime - begun.stat().st_mtime
        self.total = time.monotonic() - run.began

    def run(self, kills: int) -> None:
        """All rounds."""
        plan = [PLAN[index % len(PLAN)] for index in range(kills)]
        for first in range(0, kills, PER_ROUND):
            part = sorted(plan[first : first + PER_ROUND], key=lambda what: 7.5 if what == TRAINING else what)
            self.round(1 + first // PER_ROUND, part)

    def round(self, number: int, planned: list[int | str]) -> None:
        """One recipe folder: killed in every planned stage, then left to come to its end and compared."""
        folder = copy_recipe(self.work / f"round{number}")
        finished: dict[str, str] = {}
        waiting: list[Kill] = []
        starts = 0

        def start() -> Run:
            nonlocal starts
            starts += 1
            return Run(folder, self.fsdd_dir, self.work / f"round{number}.{starts}.log")

        for what in planned:
            kill = Kill(number, what, everything=self.random.random() < 0.5)
            share = self.random.random()
            while True:
                run = start()
                stage = 7 if what == TRAINING else what
                alive = run.reach(stage, BEGUN if what == TRAINING else "")
                self._settle(waiting, run)
                alive = alive and run.pause(share * self.seconds[what])
                if alive:
                    break
                if run.process.returncode:
                    return self._failed(run)
                if share < 0.01:
                    self.problems.append(f"stage {stage} could not be killed: it was over at once")
                    return None
                share /= 2  # it was over before: once more, earlier
            run.kill(everything=kill.everything)
            began = run.times.get(run.stage, run.began)
            kill.stage, kill.moment = run.stage, round(time.monotonic() - began, 2)
            waiting.append(kill)
            self.kills.append(kill)
            kill.mid_epoch = kill.stage == 7 and _mid_epoch(folder)
            finished |= stamps(folder)
            print(f"round {number}: killed in stage {kill.stage} after {kill.moment:.1f} s", flush=True)
        run = start()
        code = run.wait()
        self._settle(waiting, run)
        end_all(run.mark)
        if code:
            return self._failed(run)
        again = [
            f"{name} was done again"
            for name, made in stamps(folder).items()
            if finished.get(name, made) != made
        ]
        problems = [*differences(snapshot(folder), self.expected), *again]
        self.left_over += len(temporaries(folder))
        self.lost += len(problems)
        self.problems += [f"round {number}: {problem}" for problem in problems]
        for kill in self.kills:
            kill.survived = kill.survived or (kill.round == number and not problems)
        print(
            f"round {number}: {len(problems)} lost, {len(temporaries(folder))} temporaries left", flush=True
        )
        return None

    def _settle(self, waiting: list[Kill], run: Run) -> None:
        """Note when the run came back to the stages in which earlier ones were killed."""
        for kill in list(waiting):
            if kill.stage in run.times:
                kill.back = round(run.times[kill.stage] - run.began, 1)
                waiting.remove(kill)

    def _failed(self, run: Run) -> None:
        """The same command did not go on: that needs somebody's deed."""
        end_all(run.mark)
        self.lost += 1
        self.problems.append(f"{run.log}: exit {run.process.returncode}\n{run.log.read_text()[-3000:]}")

    def rows(self) -> list[dict]:
        """One row for every stage, and one for all."""
        by_stage = collections.defaultdict(list)
        for kill in self.kills:
            by_stage[kill.stage].append(kill)
        rows = [
            _row(f"kill −9 in stage {stage} ({NAMES[stage]})", f"kill_stage{stage}", kills)
            for stage, kills in sorted(by_stage.items())
        ]
        total = _row("kill −9 anywhere in the pipeline, stages 1–10", "kill_pipeline", self.kills)
        return [{**total, "lost": self.lost}, *rows]


def _mid_epoch(folder: Path) -> bool:
    """Whether a training saved its state after its last finished epoch."""
    saved = [path.stat().st_mtime for path in folder.glob("exp/asr_sld_*/checkpoint.pth")]
    epochs = [path.stat().st_mtime for path in folder.glob("exp/asr_sld_*/*epoch.pth")]
    return bool(saved) and saved[0] > max(epochs, default=0.0) + SAVED_WITH


def _row(fault: str, name: str, kills: list[Kill]) -> dict:
    survived = sum(kill.survived for kill in kills)
    outcome = "the same command went on; at the end all outputs equal those of the undisturbed run"
    return {
        "fault": fault,
        "outcome": outcome if survived == len(kills) else "NOT AS EXPECTED: see the campaign's output",
        "seconds": max(kill.back for kill in kills),
        "lost": len(kills) - survived,
        "tried": len(kills),
        "survived": survived,
        "name": name,
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=Path, required=True, help="holds recordings/")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="an empty or new folder, kept; default: a temporary one")
    parser.add_argument("--write", action="store_true", help="put the rows into tools/test_slurm")
    options = parser.parse_args(argv)
    work = options.work or Path(tempfile.mkdtemp(prefix="kills."))
    work.mkdir(parents=True, exist_ok=True)
    campaign = Campaign(work, options.recordings, options.seed)
    campaign.undisturbed()
    print(f"undisturbed: {campaign.total:.0f} s, {len(campaign.expected)} outputs", flush=True)
    campaign.run(options.kills)
    rows = campaign.rows()
    result = {
        "rows": rows,
        "kills": [dataclasses.asdict(kill) for kill in campaign.kills],
        "problems": campaign.problems,
        "temporaries_left": campaign.left_over,
    }
    (work / "kills.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    for row in rows:
        print(f"{row['fault']}: {row['tried']} tried, {row['survived']} survived, {row['lost']} lost")
    print(f"{campaign.left_over} temporaries left", *campaign.problems, sep="\n")
    if options.write:
        record("kills", rows)
    if not options.work and not campaign.problems:
        shutil.rmtree(work)
    return int(bool(campaign.lost or campaign.problems))


if __name__ == "__main__":
    sys.exit(main())
