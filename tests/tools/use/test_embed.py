"""`jaxssl embed`: one vector a line, in the order of the lines."""

import numpy as np
import pytest

from jaxssl.pretrained.texts import Embedder, load_embedder
from jaxssl.tools.main import main
from jaxssl.tools.use.embed import read_lines

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
    [
        ("none", "none does not exist; give a text file"),
        ("bytes", "byte 2 is not UTF-8; convert"),
        (".", "is a folder; give a text file"),
    ],
)
def test_what_is_no_text(masked_run, tmp_path, capsys, name, line):
    (tmp_path / "bytes").write_bytes(b"a\n\xff\n")
    with pytest.raises(SystemExit) as stopped:
        main(["embed", masked_run, str(tmp_path / name), "--into", str(tmp_path / "v")])
    assert stopped.value.code == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "v").exists()


def test_lines_end_at_line_breaks_and_nowhere_else(tmp_path):
    path = tmp_path / "texts"
    path.write_bytes("\ufeffa\u2028b\r\nc\x85\nd\x0ce\x1cf\n\ng\rh\n".encode())
    assert read_lines(path) == ["a\u2028b", "c\x85", "d\x0ce\x1cf", "", "g\rh"]
    path.write_bytes(b"a\nb")
    assert read_lines(path) == ["a", "b"]
    path.write_bytes(b"")
    assert read_lines(path) == []


def test_the_output_is_checked_before_the_work(masked_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Embedder, "__call__", None)  # never reached
    (tmp_path / "texts").write_text("a\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("texts")
    for into, message in (
        ("none/v.npy", "there is no folder"),
        (".", "is a folder; name a file"),
        ("texts", "is the file of the texts; name another one"),
        ("link", "is the file of the texts; name another one"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(["embed", masked_run, str(tmp_path / "texts"), "--into", str(tmp_path / into)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert (tmp_path / "texts").read_text(encoding="utf-8") == "a\n"


def test_a_failed_run_leaves_the_old_file(masked_run, tmp_path, monkeypatch):
    (tmp_path / "texts").write_text("a\n", encoding="utf-8")
    (tmp_path / "v").write_text("old", encoding="utf-8")

    def half(file, vectors):
        file.write(b"half")
        raise RuntimeError

    monkeypatch.setattr(np, "save", half)
    with pytest.raises(RuntimeError):
        main(["embed", masked_run, str(tmp_path / "texts"), "--into", str(tmp_path / "v")])
    assert (tmp_path / "v").read_text(encoding="utf-8") == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"texts", "v"}
