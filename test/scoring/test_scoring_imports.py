"""Scoring starts fast: nothing heavy is loaded."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("name", ["score", "results", "compare", "table"])
def test_help_loads_no_heavy_package_and_shows_an_example(name):
    program = (
        "import sys, runpy\n"
        f"sys.argv = ['{name}', '--help']\n"
        "try:\n"
        f"    runpy.run_module('espnet_sld.bin.{name}', run_name='__main__')\n"
        "finally:\n"
        "    heavy = {'torch', 'espnet2', 'transformers', 'jiwer', 'numpy'}\n"
        "    print('LOADED', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "LOADED []" in done.stdout
    assert f"espnet_sld.bin.{name}" in done.stdout
    assert len(done.stdout.splitlines()) <= 50


def test_scoring_room_never_loads_torch_or_espnet():
    program = (
        "import sys, espnet_sld.scoring.table, espnet_sld.scoring.results_md, espnet_sld.scoring.comparison\n"
        "from espnet_sld.scoring.environment import environment\n"
        "environment()\n"
        "from espnet_sld.scoring.error_rates import count_word_errors\n"
        "count_word_errors(['a b'], ['b a'])\n"
        "assert not {'torch', 'espnet', 'espnet2', 'transformers'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
