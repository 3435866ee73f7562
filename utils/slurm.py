#!/usr/bin/env python3
"""Run a command, or an array of them, on a Slurm cluster; drop-in for Kaldi's slurm.pl.

usage: slurm.py [options] [JOB=1:N] LOG COMMAND…

Every JOB in the log's name and in the command's words is replaced by 1 … N. The words are run as they are,
not by a shell (for pipes: bash -c '…'), in this directory, after path.sh if there is one. The log gets the
command, its output, the exit code and the time; beside it x.JOB.json has the same for programs. Ctrl-C, TERM
and HUP cancel the jobs. After kill -9 of this program they run on, and the same command takes them over.

options (also --name=value); conf/slurm.conf says what they become for sbatch:
  --config FILE       rules instead of conf/slurm.conf
  --max-jobs-run N    tasks at once; default: as many as the cluster runs
  --num-threads N     CPUs and threads of a task
  --gpu N             GPUs of a task (of a node, with --num-nodes); also with a type: a100:4
  --num-nodes N       nodes of a task: srun starts the command once per GPU (at least once) on each of them
  --mem M --time T    memory per CPU and time limit
  --partition --account --qos --constraint --name --signal, and -X VALUE: as sbatch's
  --retries N         submit a task again so often after a failed node, a pre-emption, a lost job, or when it
                      ended with code 85 (saved, run me again); default 3. Not after failures of its own
  --poll-seconds N    ask squeue every N seconds; default: 5, rising to 30 while nothing changes

exit code: 0 all tasks succeeded, 1 some failed (the end of the first failing log is shown),
128 + n after signal n

example:
  slurm.py --max-jobs-run 16 --mem 4G JOB=1:32 log/units.JOB.log python3 -m espnet_sld.bin.extract_units …
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from espnet_sld.jobs.arguments import command, parse
from espnet_sld.jobs.slurm import run_slurm
from espnet_sld.jobs.slurm_conf import read_slurm_conf


def start(words: list[str]) -> int:
    """Submit and watch; a full disk or the like leaves what was submitted running."""
    try:
        request = parse(words, extra_options=None)
        config = request.options.get("config")
        return run_slurm(request, read_slurm_conf(Path(config) if config else None))
    except OSError as error:
        print(
            f"error: slurm.py: {error.filename or 'files beside the logs'}: {error.strerror};"
            " what was submitted runs on, and the same command takes it over",
            file=sys.stderr,
        )
        return 1


if __name__ == "__main__":
    sys.exit(command("slurm.py", __doc__, start))
