#!/usr/bin/env python3
"""Malformed data directories and audio files, given to a recipe: each one clear message, nothing lost.

usage: bad_data.py --recordings DIR [--only KIND…] [--write]

Stages 1-5 of a small recipe are run on good data (DIR is a Free Spoken Digit Dataset). For every kind of
kinds.py a copy of that folder is spoilt and the same command run again. It must be refused in the stage
named, with exit code 1 and a message that names the place and the remedy, without a traceback, all that was
finished before being left as it was; or be accepted, no utterance missing. Where utils/fix_data_dir is the
remedy, it is run, and utils/validate_data_dir must be content afterwards.

--write puts the rows into tools/test_slurm/faults.json and RESULTS.md. Exit code 1 if any is not as expected.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from digits import REPO, copy_recipe
from fault_rows import record
from kinds import KINDS
from outputs import snapshot
from spoilt import ALL, Kind, Place, make

OPTIONS = ("--corpus", "true", "--test_sets", "", "--speed_perturb_factors", "", "--nclusters", "8")
OPTIONS += ("--unit_nbpe", "20", "--text_nbpe", "20", "--nj", "2")
FAILED = re.compile(r"stage (\d+) failed \(exit 1\). Finished work is kept; resume with")
FILE_SIZE, DISK_SIZE = 100_000, "100k"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/{prctl,capability}.h
GOOD = Kind("none", lambda place: None, 0, ())
SHOWN = 140  # characters of a message in the table


def _as_others() -> None:
    """Root may read and write everything: without these two capabilities it may not."""
    if os.geteuid() == 0:
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))


LIMITS: dict[str, Callable[[], None]] = {"not_root": _as_others, "file_size": _small_files}


@contextlib.contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A small file system of its own at a folder, for a moment."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def run(place: Place, stop_stage: int, kind: Kind) -> subprocess.CompletedProcess:
    """The recipe's command, up to a stage; what it prints, both streams together."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["./run.sh", *OPTIONS, "--stop_stage", str(stop_stage), *kind.options],
        cwd=place.folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=LIMITS.get(kind.limit),
    )


class Campaign:
    """All kinds in copies of one finished folder."""

    def __init__(self, work: Path, recordings: Path):
        self.work = work
        self.good = make(copy_recipe(work / "good"), recordings)
        done = run(self.good, 5, GOOD)
        if done.returncode:
            sys.exit(f"the good data failed\n{done.stdout}")
        self.problems: list[str] = []

    def row(self, name: str) -> dict:
        """Spoil, run, look."""
        kind = KINDS[name]
        root = self.work / name
        shutil.copytree(self.work / "good", root, symlinks=True)
        place = Place(root / "egs" / "fsdd" / "asr_sld")
        kind.spoil(place)
        before = snapshot(place.folder)
        with full_disk(place.folder / "full") if kind.limit == "full_disk" else contextlib.nullcontext():
            began = time.monotonic()
            done = run(place, kind.stage or 5, kind)
            seconds = time.monotonic() - began
        after = snapshot(place.folder)
        lost = [
            path
            for path in before
            if path not in after or (kind.stage and self._changed(path, before, after))
        ]
        wrong = self._wrong(kind, place, done)
        outcome = kind.outcome or f"refused in stage {kind.stage}: {shown(done.stdout)}"
        if kind.fixed and not wrong:
            outcome += f"; fix_data_dir: {self._fix(kind, place, wrong)}"
        if kind.limit in ("file_size", "full_disk") and not wrong and run(place, 3, free(kind)).returncode:
            wrong.append("with room again, the same command fails")
        if wrong or lost:
            self.problems.append(
                "\n".join([f"== {name}", *wrong, *(f"lost: {p}" for p in lost), done.stdout])
            )
        for path in place.folder.glob("exp/**/"):
            path.chmod(0o755)  # one kind has locked them
        shutil.rmtree(root)
        return {
            "fault": kind.fault,
            "outcome": outcome if not wrong else "NOT AS EXPECTED: " + "; ".join(wrong),
            "seconds": round(seconds, 1),
            "lost": len(lost),
            "tried": 1,
            "survived": int(not (wrong or lost)),
            "name": f"data_{name}",
        }

    @staticmethod
    def _changed(path: str, before: dict[str, str], after: dict[str, str]) -> bool:
        """Whether a file is not what it was; stage 1 may have brought what the user wrote."""
        given = path.replace("dump/raw/org/", "data/")
        brought = given != path and after[path] == after.get(given)
        return before[path] != after[path] and not brought

    def _wrong(self, kind: Kind, place: Place, done: subprocess.CompletedProcess) -> list[str]:
        """What is not as it should be."""
        wrong = [f"does not say: {words}" for words in kind.says if words not in done.stdout]
        wrong += ["a traceback"] * ("Traceback" in done.stdout)
        if kind.stage:
            failed = FAILED.search(done.stdout)
            if done.returncode != 1 or not failed or int(failed[1]) != kind.stage:
                wrong.append(f"exit {done.returncode}, {failed[0] if failed else 'no stage named'}")
            return wrong
        if done.returncode:
            return [*wrong, f"exit {done.returncode}"]
        texts = {case: texts_of(place, case) for case in ("ts", "rm")}
        for case, rows in texts.items():
            if len(rows) != ALL or not all(rows.values()):
                wrong.append(f"{len(rows)} of {ALL} utterances in text.{case}, some perhaps without units")
        for utterance, units in texts["ts"].items():
            if len(units) != len(place.labels(utterance)) or not texts["rm"][utterance].startswith(units[0]):
                wrong.append(f"{utterance} lost a label")
        return wrong

    def _fix(self, kind: Kind, place: Place, wrong: list[str]) -> str:
        """Let utils/fix_data_dir mend the directory; what it says that it did."""
        options = ["--check_audio", "true"]
        if "--min_seconds" in "".join(kind.says):
            options = ["--min_seconds", "0.025"]
        fixed = self._util(place, "fix_data_dir", *options)
        checked = self._util(place, "validate_data_dir", "--check_audio", "true")
        if fixed.returncode or kind.fixed not in fixed.stdout:
            wrong.append(f"fix_data_dir does not say '{kind.fixed}' but: {fixed.stdout}{fixed.stderr}")
        if checked.returncode:
            wrong.append(f"after fix_data_dir: {checked.stderr}")
        deeds = [line.strip() for line in fixed.stdout.splitlines() if line.startswith("  ")]
        return ", ".join(deeds)

    @staticmethod
    def _util(place: Place, name: str, *options: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", f"espnet_sld.bin.{name}", *options, "data/train"]
        environment = {**os.environ, "PYTHONPATH": str(REPO)}
        return subprocess.run(command, cwd=place.folder, env=environment, capture_output=True, text=True)


def free(kind: Kind) -> Kind:
    """The same, run without its limit."""
    return Kind(kind.fault, kind.spoil, kind.stage, (), options=kind.options)


def texts_of(place: Place, case: str) -> dict[str, str]:
    """Utterance → its units as text, of the training set."""
    lines = (place.folder / f"dump/raw/train/text.{case}.mfcc_km8").read_text(encoding="utf-8").splitlines()
    return {utterance: units for utterance, _, units in (line.partition(" ") for line in lines)}


def shown(text: str) -> str:
    """Of a message the part that says what is wrong, for one line of a table."""
    message = text.partition("error: ")[2].partition("\n#")[0]
    # the end of a log is shown behind bars
    lines = [line.strip().removeprefix("| ").strip() for line in message.splitlines()]
    if lines and lines[0].endswith("problems in this data directory"):
        lines = lines[1:3]
    line = " ".join(lines[:2] if len(lines) > 1 and lines[0].endswith(":") else lines[:1])
    return "“" + (line if len(line) <= SHOWN else line[: SHOWN - 1] + "…") + "”"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=Path, required=True, help="holds recordings/")
    parser.add_argument("--only", nargs="*", help=f"of: {' '.join(KINDS)}")
    parser.add_argument("--write", action="store_true", help="put the rows into tools/test_slurm")
    options = parser.parse_args(argv)
    if options.only and options.write:
        parser.error("--write wants all kinds: the rows stand for one campaign")
    names = options.only or list(KINDS)
    if os.geteuid() != 0 and "full_disk" in names:
        print("full_disk is left out: only root can mount a small file system")
        names.remove("full_disk")
    with tempfile.TemporaryDirectory(prefix="bad_data.") as work:
        campaign = Campaign(Path(work), options.recordings)
        rows = []
        for name in names:
            rows.append(campaign.row(name))
            print(f"{name}: {rows[-1]['outcome']} ({rows[-1]['seconds']} s)", flush=True)
    survived = sum(row["survived"] for row in rows)
    lost = sum(row["lost"] for row in rows)
    print(f"{len(rows)} kinds, {survived} as expected, {lost} files lost", *campaign.problems, sep="\n")
    if options.write:
        total = {
            "fault": "malformed data and places, all kinds",
            "outcome": "refused with one message that names place and remedy, or accepted as documented",
            "seconds": max(row["seconds"] for row in rows),
            "lost": lost,
            "tried": len(rows),
            "survived": survived,
            "name": "data_all",
        }
        record("bad_data", [total, *rows])
    return int(bool(campaign.problems))


if __name__ == "__main__":
    sys.exit(main())
