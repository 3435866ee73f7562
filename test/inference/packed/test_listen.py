"""A pack listens to a data directory once: what is up to date loads no model."""

from espnet_sld import Speech2Text
from espnet_sld.bin import listen
from espnet_sld.files import read_table


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
