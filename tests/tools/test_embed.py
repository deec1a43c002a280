"""`jaxssl embed`: one vector a line, in the order of the lines."""

import numpy as np
import pytest

from jaxssl.pretrained.texts import load_embedder
from jaxssl.tools.main import main

TEXTS = ["ba", "de fi go ba", "de fi", "", "de fi go ba " * 40]


def test_lines_become_vectors_in_their_order(masked_run, tmp_path, capsys):
    (tmp_path / "texts").write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    main(["embed", masked_run, str(tmp_path / "texts"), "--into", str(tmp_path / "vectors")])
    assert "5 texts, 32 numbers each (mean)" in capsys.readouterr().out
    vectors = np.load(tmp_path / "vectors")
    np.testing.assert_array_equal(vectors, load_embedder(masked_run)(TEXTS))
    main(
        [
            "embed",
            masked_run,
            str(tmp_path / "texts"),
            "--into",
            str(tmp_path / "v"),
            "--pooling",
            "cls",
        ]
    )
    assert "32 numbers each (cls)" in capsys.readouterr().out
    assert not np.allclose(np.load(tmp_path / "v"), vectors)


@pytest.mark.parametrize(
    ("name", "line"),
    [("none", "none does not exist; give a text file"), ("bytes", "byte 2 is not UTF-8; convert")],
)
def test_what_is_no_text(masked_run, tmp_path, capsys, name, line):
    (tmp_path / "bytes").write_bytes(b"a\n\xff\n")
    with pytest.raises(SystemExit) as stopped:
        main(["embed", masked_run, str(tmp_path / name), "--into", str(tmp_path / "v")])
    assert stopped.value.code == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "v").exists()
