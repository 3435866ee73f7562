"""Every measured fault: nothing is lost, all is noticed within 15 s of Slurm's own knowing."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools" / "test_slurm"))

from available import unavailable
from cases import CASES
from cluster import Cluster
from faults import measure

pytestmark = pytest.mark.campaign


@pytest.fixture(scope="module")
def fault_clusters(tmp_path_factory):
    """By whether they have control groups."""
    if reason := unavailable():
        pytest.skip(f"no Slurm cluster: {reason}")
    with (
        Cluster(tmp_path_factory.mktemp("plain"), bound=True) as plain,
        Cluster(tmp_path_factory.mktemp("cgroup"), bound=True, cgroup=True) as limited,
    ):
        yield {False: plain, True: limited}


@pytest.mark.parametrize("name", CASES)
def test_a_fault_is_noticed_and_nothing_is_lost(name, fault_clusters, tmp_path):
    row = measure(CASES[name].run, fault_clusters[CASES[name].cgroup], tmp_path / "case")
    assert row.expected, row.outcome
    assert row.lost == 0
