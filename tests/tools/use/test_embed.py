"""`jaxssl embed`: one vector a line, in the order of the lines."""

import csv

import numpy as np
import pyarrow.parquet
import pytest

from jaxssl.pretrained.texts import Embedder, load_embedder
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


def test_texts_stand_beside_the_vectors(masked_run, tmp_path, capsys):
    table = tmp_path / "texts.csv"
    table.write_text('key,body\nx,"ba, de"\ny,fi\n', encoding="utf-8")
    expected = load_embedder(masked_run, normalized=True)(["ba, de", "fi"])
    for name in ("v.parquet", "v.csv"):
        command = ["embed", masked_run, str(table), "--into", str(tmp_path / name), "--normalize"]
        main([*command, "--column", "body", "--id-column", "key"])
        assert "2 texts, 32 numbers each (mean, normalised)" in capsys.readouterr().out
    found = pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pydict()
    assert (found["id"], found["text"]) == (["x", "y"], ["ba, de", "fi"])
    np.testing.assert_array_equal(np.array(found["vector"], np.float32), expected)
    np.testing.assert_allclose(np.linalg.norm(expected, axis=1), 1.0, rtol=1e-6)
    with (tmp_path / "v.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0][:4] == ["id", "text", "v0", "v1"]
    assert [row[:2] for row in rows[1:]] == [["x", "ba, de"], ["y", "fi"]]
    np.testing.assert_array_equal(np.array([row[2:] for row in rows[1:]], np.float32), expected)


def test_the_output_is_checked_before_the_work(masked_run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Embedder, "__call__", None)  # never reached
    (tmp_path / "texts").write_text("a\n", encoding="utf-8")
    (tmp_path / "link").symlink_to("texts")
    for into, message in (
        ("none/v.npy", "there is no folder"),
        (".", "is a folder; name a file"),
        ("texts", "is the file of the texts; name another one"),
        ("link", "is the file of the texts; name another one"),
        ("v.txt", "ends in .txt; name a file that ends in .npy, .parquet, .csv"),
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
