"""A pack listens to a data directory once: what is up to date loads no model."""

import json

import numpy as np
import pytest
import soundfile

from espnet_sld import Speech2Text
from espnet_sld.bin import listen
from espnet_sld.files import read_table


@pytest.mark.slow
def test_what_was_heard_is_kept_and_no_model_is_loaded_again(packed, recipe, tmp_path, monkeypatch):
    out = tmp_path / "heard"
    command = ["--model", str(packed("plain")), "--data_dir", "dump/raw/org/test", "--out", str(out)]
    with recipe.inside():
        listen.main(command)
        heard = read_table(out, allow_empty_value=True)
        texts, _ = recipe.decoded("plain")
        assert heard == texts
        loads = []
        original = Speech2Text.from_pretrained.__func__
        counted = classmethod(lambda cls, *args, **more: loads.append(args) or original(cls, *args, **more))
        monkeypatch.setattr(Speech2Text, "from_pretrained", counted)
        before = out.stat().st_mtime_ns
        listen.main(command)
        assert loads == [] and out.stat().st_mtime_ns == before
        out.unlink()
        listen.main(command)
        assert len(loads) == 1 and read_table(out, allow_empty_value=True) == heard


def test_an_utterance_without_one_frame_is_heard_as_nothing(packed, recipe, tmp_path, caplog):
    """Synthesised speech may be as short as one unit; the others are heard all the same."""
    (tmp_path / "data").mkdir()
    soundfile.write(tmp_path / "data" / "click.wav", np.full(20, 0.1), 16000)
    name, wav = next(iter(recipe.wavs().items()))
    rows = {"a-short": tmp_path / "data" / "click.wav", "b-spoken": (recipe.folder / wav).resolve()}
    (tmp_path / "data" / "wav.scp").write_text("".join(f"{key} {path}\n" for key, path in rows.items()))
    (tmp_path / "data" / "utt2spk").write_text("a-short a\nb-spoken b\n")
    out = tmp_path / "heard"
    listen.main(["--model", str(packed("plain")), "--data_dir", str(tmp_path / "data"), "--out", str(out)])
    texts, _ = recipe.decoded("plain")
    assert read_table(out, allow_empty_value=True) == {"a-short": "", "b-spoken": texts[name]}
    assert "1 of 2 are too short for one frame: nothing heard in a-short" in caplog.text
    assert json.loads((tmp_path / "heard.done.json").read_text())["result"]["too_short"] == 1
