"""Whether a throw-away Slurm cluster can be had on this machine; installs Debian's packages if it may.

ESPNET_SLD_SLURM: `install` (the default: install what is missing), `installed` (use what there is), `skip`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # tools/
from debian import apt_install

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "munged")
INSTALL_SECONDS = 180


def unavailable() -> str:
    """Why no cluster can be had here; '' if one can."""
    wish = os.environ.get("ESPNET_SLD_SLURM", "install")
    if wish == "skip":
        return "ESPNET_SLD_SLURM=skip"
    if os.geteuid() != 0:
        return "not root: slurmd runs jobs of its own user only as root"
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if not missing:
        return ""
    if wish != "install":
        return f"not installed: {' '.join(missing)} (Debian: apt-get install {' '.join(PACKAGES)})"
    if not shutil.which("apt-get"):
        return f"not installed: {' '.join(missing)}, and there is no apt-get"
    return apt_install(PACKAGES, INSTALL_SECONDS)
