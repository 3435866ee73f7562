#!/usr/bin/env python3
"""Run a command, or an array of them, on machines reached by ssh; drop-in for Kaldi's ssh.pl.

usage: ssh.py [options] [JOB=1:N] LOG COMMAND…

.queue/machines names the machines, one a line, as ssh takes them (`host`, `user@host`; # begins a comment):
each runs one task at a time, one that is named twice two. They must let ssh in without a question (keys),
and see this directory and the toolkit under the same path. A task runs in this directory, after path.sh if
there is one, with no other variables of ours. Logs, results, options and exit codes are as utils/run.py's;
--gpu reserves nothing: a task sees all GPUs of its machine. Ctrl-C, TERM, HUP and kill -9 of this program,
and a broken connection, end the tasks within seconds of their machine's noticing it.

example:
  ssh.py JOB=1:32 log/units.JOB.log python3 -m espnet_sld.bin.extract_units --shard JOB …
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from espnet_sld.jobs.arguments import command, parse
from espnet_sld.jobs.ssh import run_ssh

if __name__ == "__main__":
    sys.exit(command("ssh.py", __doc__, lambda words: run_ssh(parse(words))))
