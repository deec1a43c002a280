"""`jaxssl recipes`: the list, one recipe, and a copy of one."""

from pathlib import Path

import pytest

from jaxssl.tools.main import main


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["recipes", *arguments])
    assert end.value.code == 2
    return capsys.readouterr().err


def test_the_list(capsys):
    main(["recipes"])
    printed = capsys.readouterr().out
    assert "Text encoders\n  quickstart " in printed
    assert "`jaxssl recipes NAME` shows one" in printed


def test_one_recipe(capsys):
    main(["recipes", "bert_base"])
    printed = capsys.readouterr().out
    assert printed.startswith("BERT (Devlin et al. 2019)   L12 H768   your text   4 days")
    assert str(Path("configs/bert_base.py").absolute()) in printed
    assert "BERT-base (Devlin et al. 2019, L12 H768)" in printed
    assert "run it:     jaxssl train bert_base" in printed
    main(["recipes", "finetune_trec"])
    assert "run it:     jaxssl finetune finetune_trec" in capsys.readouterr().out


def test_a_copy(tmp_path, capsys):
    copy = tmp_path / "new" / "mine.py"
    main(["recipes", "bert_base", "--copy", str(copy)])
    assert copy.read_bytes() == Path("configs/bert_base.py").read_bytes()
    assert f"run it: jaxssl train {copy}" in capsys.readouterr().out
    main(["recipes", "finetune_sst2", "--copy", str(tmp_path / "sst2.py")])
    assert "run it: jaxssl finetune " in capsys.readouterr().out
    copy.write_text("changed")
    assert "exists and is not replaced" in refused(capsys, "bert_base", "--copy", str(copy))
    assert copy.read_text() == "changed"


def test_what_is_refused(tmp_path, capsys):
    assert "did you mean bert_base" in refused(capsys, "bert_bse")
    assert "must end in .py" in refused(capsys, "bert_base", "--copy", str(tmp_path))
    assert "name the recipe to copy" in refused(capsys, "--copy", "mine.py")
