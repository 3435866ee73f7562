"""Trainings in processes of their own, each forked from this one, which imports ESPnet once.

Reads JSON lines from stdin: {"argv": […], "program": "train", "env": {…}, "log": path} starts `bin.train`, or
`bin.train_ctc`, and answers its pid;
{"wait": pid} answers its exit code (negative: signal).
"""

import json
import os
import sys

import torch

torch.set_num_threads(1)

from espnet_sld import cli  # noqa: E402
from espnet_sld.bin import train, train_ctc  # noqa: E402

PROGRAMS = {"train": train, "train_ctc": train_ctc}


def become(job: dict) -> None:
    """In the child: `python -m espnet_sld.bin.train`, or another program."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(job["env"])
    cli.run(lambda: PROGRAMS[job["program"]].main(job["argv"]))


def main() -> None:
    for program in PROGRAMS.values():
        program.load_task()
    answers = os.fdopen(os.dup(1), "w")  # whatever a training prints goes to its log
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            answer = os.waitstatus_to_exitcode(os.waitpid(job["wait"], 0)[1])
        else:
            answer = os.fork()
            if answer == 0:
                become(job)
        answers.write(f"{answer}\n")
        answers.flush()


if __name__ == "__main__":
    main()
