"""Run one process of a job step: `python slurm_step.py MARKER COMMAND…`.

srun ends all processes of a step as soon as one ends with a code other than 0, and the largest code is the
step's. A training whose processes save their state and end with code 85 would be killed in that, and its
wish lost. So 85 becomes a file, `MARKER`, and code 0: the others come to their end, and the batch script
(slurm_task.py), seeing the file, ends with 85. Any other code, and any death, is the step's as it is. A last
line in the log says how the process ended, and where.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a file, from any directory
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from espnet_sld.jobs.result import REQUEUE, explain, shell_code
from espnet_sld.jobs.task import WATCHED, start, watch_signals


def run(marker: Path, command: list[str]) -> int:
    """Run the command, pass signals on; its code, or 0 with the marker made. Call `watch_signals` before.

    Some of Slurm's ways to guard processes signal all of a step, others the first alone: the command may
    hear a signal twice.
    """
    try:
        child = start(command)
    except FileNotFoundError:
        print(f"{command[0]}: command not found", file=sys.stderr)
        return 127
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 126
    while child.poll() is None:
        received = signal.sigwait(WATCHED)
        if received != signal.SIGCHLD:
            child.send_signal(received)
    code = shell_code(child.returncode)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"# Process {os.environ.get('SLURM_PROCID', '')} on {os.environ.get('SLURMD_NODENAME', '')} ended"
        f" ({explain(code)}): {usage.ru_utime + usage.ru_stime:.1f} CPU seconds,"
        f" peak memory {usage.ru_maxrss / 1024:.0f} MiB",
        flush=True,
    )
    if code != REQUEUE:
        return code
    try:
        marker.touch()
    except OSError as error:
        print(f"{marker}: {error.strerror}; the state is saved: run the same command again", file=sys.stderr)
        return code
    return 0


def main() -> None:
    """Run the command line's command."""
    watch_signals()
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()
