"""The tutorial's lines, run as they stand in a clean clone."""

import re
import subprocess

import pytest


def script(blocks) -> str:
    """All blocks as one script; a block that names a file writes it."""
    parts = []
    for block in blocks:
        if block.file:
            parts.append(f"cat > {block.file} << 'END OF FILE'\n{block.text}END OF FILE\n")
        else:
            assert block.kind == "sh"
            parts.append(block.text)
    return "".join(parts)


def test_the_tutorial_has_a_script_that_bash_can_read(blocks, tmp_path):
    lines = script(blocks("tutorial.md"))
    assert "git clone" in lines and "transcribe" in lines
    subprocess.run(["bash", "-n", "-c", lines], check=True)


@pytest.mark.campaign
def test_the_tutorials_commands_run_as_written_in_a_clean_clone(blocks, clone):
    printed = clone.shell(script(blocks("tutorial.md")))
    own = clone.place / "espnet_sld" / "egs" / "own" / "asr_sld"
    assert len(re.findall(r"^\| decode_greedy \| test ", printed, re.MULTILINE)) >= 2  # both tables
    for what in (
        "a Kaldi data directory",
        "unit text",
        "k-means centroids",
        "a token list",
        "a packed model",
    ):
        assert what in printed
    first = (own / "transcripts.tsv").read_text().split("\t")[0]
    assert printed.splitlines()[-1].startswith(f"recordings/{first}\t")
    assert list((own / "exp").glob("asr_sld_*/report.html"))
