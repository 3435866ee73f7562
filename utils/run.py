#!/usr/bin/env python3
"""Run a command, or an array of them, as processes of this machine; drop-in for Kaldi's run.pl.

usage: run.py [options] [JOB=1:N] LOG COMMAND…

Every JOB in the log's name and in the command's words is replaced by 1 … N. The words are run as they are,
not by a shell (for pipes: bash -c '…'). The log gets the command, its output, the exit code and the time;
beside it x.JOB.json has the same for programs. Ctrl-C, TERM, HUP and even kill -9 end every task.

options (also --name=value):
  --max-jobs-run N    tasks at once; default: cores / num-threads
  --num-threads N     threads of a task (OMP_NUM_THREADS and the like); default 1
  --gpu N             GPUs of a task; they are handed out through CUDA_VISIBLE_DEVICES; default 0
  --retries N         run a task again so often when it ended with code 85 (saved, run me again); default 3,
                      runs of a minute or longer do not count
  --grace N           seconds that tasks get to end after a signal, before SIGKILL; default 5
  --mem M --time T    for utils/slurm.py (also --partition, --account, --qos, --constraint, --name, --signal,
                      --config, --poll-seconds); no effect here

exit code: 0 all tasks succeeded, 1 some failed (the end of the first failing log is shown),
128 + n after signal n

example:
  run.py --max-jobs-run 4 JOB=1:32 log/units.JOB.log python -m espnet_sld.bin.extract_units --shard JOB …
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from espnet_sld.jobs.arguments import command, parse
from espnet_sld.jobs.local import run_local

if __name__ == "__main__":
    sys.exit(command("run.py", __doc__, lambda words: run_local(parse(words))))
