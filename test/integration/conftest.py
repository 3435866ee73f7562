"""A real Slurm cluster for tests: two nodes on this machine's loopback, ended with the session."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / "tools" / "test_slurm"
sys.path.insert(0, str(TOOLS))

from available import unavailable  # noqa: E402
from cluster import Cluster  # noqa: E402
from submitter import Submitter  # noqa: E402


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Cluster:
    """Two nodes with 4 CPUs and 2 GPUs each, arrays of at most 8 tasks; skipped loudly without Slurm."""
    reason = unavailable()
    if reason:
        warnings.warn(f"NO SLURM: the tests on a real cluster are skipped: {reason}", stacklevel=1)
        pytest.skip(f"no Slurm cluster: {reason}")
    settings = {"MaxArraySize": "9", "KillWait": "3"}
    with Cluster(tmp_path_factory.mktemp("slurm"), bound=True, settings=settings) as running:
        yield running


@pytest.fixture
def slurm_py(cluster, tmp_path) -> Callable[..., Submitter]:
    """Starts utils/slurm.py in the test's folder; what it left is cancelled afterwards."""
    started = []

    def start(*arguments: str, poll: int | None = 1, **environment: str) -> Submitter:
        submitter = Submitter(tmp_path, {**cluster.environment, **environment}, *arguments, poll=poll)
        started.append(submitter)
        return submitter

    yield start
    for submitter in started:
        if submitter.process.poll() is None:
            submitter.kill()
    cluster.command("scancel", "--me", "--full", "--signal=KILL")
    cluster.command("scancel", "--me")
