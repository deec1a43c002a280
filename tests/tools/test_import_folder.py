import jax
import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.pretrained.load import load_pretrained
from jaxssl.tools.main import main
from tests.interop.huggingface.small_folders import small_bert


def test_the_run_holds_what_the_folder_held(tmp_path, capsys):
    folder, run = small_bert(tmp_path / "bert", "BertModel"), tmp_path / "run"
    main(["import", f"hf:{folder}", str(run)])
    shown = capsys.readouterr().out
    assert "BertModel, float32" in shown
    assert "missing, so that they begin with random parameters: output_bias, transform" in shown
    assert "not used, but kept for the export: pooler.dense" in shown
    direct, imported = load_pretrained(f"hf:{folder}"), load_pretrained(run)
    assert imported.objective == direct.objective
    assert imported.step == 0
    assert imported.spec.vocab_size == 19
    assert imported.tokenizer.fingerprint == direct.tokenizer.fingerprint
    jax.tree.map(np.testing.assert_array_equal, imported.model, direct.model)
    for part in ("architecture", "config", "dtype", "missing"):
        assert getattr(imported.origin, part) == getattr(direct.origin, part)
    for name in direct.origin.unused.names:
        was, found = (one.origin.unused.view(name) for one in (direct, imported))
        assert was.tobytes() == found.tobytes()
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_what_cannot_be_read_leaves_nothing_behind(tmp_path, capsys):
    folder, run = small_bert(tmp_path / "bert", is_decoder=True), tmp_path / "run"
    for source, message in ((folder, "is_decoder"), (tmp_path / "none", "no folder")):
        with pytest.raises(SystemExit) as exit:
            main(["import", str(source), str(run)])
        assert exit.value.code == 2
        assert message in capsys.readouterr().err
        assert not run.exists()


def test_an_existing_run_is_left_alone(tmp_path, capsys):
    folder, run = small_bert(tmp_path / "bert"), tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    with pytest.raises(SystemExit):
        main(["import", str(folder), str(run)])
    assert "holds something already" in capsys.readouterr().err
    assert (run / "config.json").read_text() == "{}"
    with pytest.raises(SystemExit):
        main(["import", str(folder), "s3://bucket/run"])
    assert "object store" in capsys.readouterr().err


def test_a_folder_without_a_tokenizer_says_so(tmp_path, capsys):
    folder, run = small_bert(tmp_path / "bert", tokenizer=False), tmp_path / "run"
    main(["import", str(folder), str(run)])
    assert "no tokenizer: texts cannot be read" in capsys.readouterr().out
    with pytest.raises(InputError, match="has no tokenizer"):
        load_pretrained(run).tokenizer  # noqa: B018
