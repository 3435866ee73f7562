"""What a driver prints about its stages: each is announced, and ends in one line with counts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

# A driver with a stage that writes, one that is left out, one without work, and one that can fail.
DRIVER = """
export MAIN_ROOT={root} PYTHONPATH={root}
stage=1 stop_stage=5 skip_stages=2 dry_run={dry_run}
. "${{MAIN_ROOT}}/egs/TEMPLATE/common.sh"
stages() {{
  if wanted 1 "texts"; then
    makes "out dir" {file} train dev
    for name in train dev; do
      [ -e "out dir/${{name}}/text.ts.en" ] || run {write} "out dir/${{name}}"
    done
  fi
  if wanted 2 "left out"; then
    makes out text.ts.en nothing
  fi
  if wanted 3 "no work"; then
    :
  fi
  if wanted 4 "may fail"; then
    [ ! -e broken ]
  fi
  if wanted 6 "beyond the last"; then
    :
  fi
}}
stages; exit
"""
SUMMARY = re.compile(r"^\S+ \((\S+:\d+:stages)\) stage (\d+) done in \d+ s: (.*)$", re.MULTILINE)
ANNOUNCED = re.compile(r"^\S+ \((\S+:\d+:stages)\) stage (\d+): ", re.MULTILINE)


@pytest.fixture
def driver(repo_root: Path, tmp_path: Path):
    """Runs the driver in a folder of its own."""
    write = tmp_path / "write.sh"
    write.write_text('#!/bin/sh\nmkdir -p "$1"\nprintf "utt1 one\\nutt2 two\\n" > "$1/text.ts.en"\n')
    write.chmod(0o755)

    def call(dry_run: str = "false", file: str = "text.ts.en") -> subprocess.CompletedProcess:
        script = tmp_path / "driver.sh"
        script.write_text(DRIVER.format(root=repo_root, dry_run=dry_run, write="./write.sh", file=file))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", script.name],
            cwd=tmp_path,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
        )

    return call


def test_every_stage_that_ran_ends_in_one_line_and_says_what_it_made(driver, tmp_path):
    first, second = driver(), driver()
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    made = SUMMARY.findall(first.stderr)
    assert [(number, text) for _, number, text in made] == [
        ("1", "2 texts (4 lines) in out dir"),
        ("3", "nothing to do"),
        ("4", "nothing to do"),
    ]
    assert [made_at for made_at, _, _ in made] == [at for at, _ in ANNOUNCED.findall(first.stderr)]
    there = SUMMARY.findall(second.stderr)
    assert there[0][2] == "nothing to do, all is there: 2 texts (4 lines) in out dir"
    (tmp_path / "out dir" / "dev" / "text.ts.en").unlink()
    assert SUMMARY.findall(driver().stderr)[0][2] == "2 texts (4 lines) in out dir, 1 of them new"


def test_a_stage_that_failed_has_no_such_line(driver, tmp_path):
    (tmp_path / "broken").touch()
    failed = driver()
    assert failed.returncode == 1 and "stage 4 failed (exit 1)" in failed.stderr
    assert [number for _, number, _ in SUMMARY.findall(failed.stderr)] == ["1", "3"]


def test_a_dry_run_has_commands_and_no_such_line(driver, tmp_path):
    dry = driver("true")
    assert dry.returncode == 0 and "+ ./write.sh" in dry.stdout
    assert " done " not in dry.stderr and not (tmp_path / "out dir").exists()


def test_what_cannot_be_counted_does_not_fail_the_stage(driver, tmp_path):
    done = driver(file="shapes.done.json")
    assert done.returncode == 0
    absent = "out dir/train/shapes.done.json, out dir/dev/shapes.done.json"
    assert SUMMARY.findall(done.stderr)[0][2] == f"not there: {absent}"
    for name in ("train", "dev"):
        (tmp_path / "out dir" / name / "shapes.done.json").write_text("{")
    damaged = driver(file="shapes.done.json")
    assert damaged.returncode == 0 and "shapes.done.json: not JSON" in damaged.stderr
    assert re.search(r"stage 1 done in \d+ s\n", damaged.stderr)
