"""Whether a throw-away Slurm cluster can be had on this machine; installs Debian's packages if it may.

ESPNET_SLD_SLURM: `install` (the default: install what is missing), `installed` (use what there is), `skip`.
"""

from __future__ import annotations

import os
import shutil
import subprocess

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
    return _install()


def _install() -> str:
    options = ["-qq", "-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", *PACKAGES]):
        try:
            done = subprocess.run(
                ["apt-get", *options, *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {words[0]} took more than {INSTALL_SECONDS} s"
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return f"apt-get {words[0]} failed: {last}"
    return ""
