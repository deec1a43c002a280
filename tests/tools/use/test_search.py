"""`jaxssl search`: the texts of a corpus that are most similar to queries."""

import json

import pytest

from jaxssl.tools.main import main

CORPUS = ["ba de fi go", "fi go ba", "de fi", "go"]


def test_the_text_itself_is_found_first(masked_run, tmp_path, capsys):
    (tmp_path / "corpus").write_text("\n".join(CORPUS), encoding="utf-8")
    (tmp_path / "queries").write_text("go\nde fi\n", encoding="utf-8")
    command = ["search", masked_run, str(tmp_path / "corpus"), "fi go ba", "--count", "2"]
    main([*command, "--index", str(tmp_path / "index")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["fi go ba", "  1.000  2  fi go ba"]
    assert len(lines) == 3
    main(
        [
            *command,
            "--index",
            str(tmp_path / "index"),
            "--queries",
            str(tmp_path / "queries"),
            "--json",
        ]
    )
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["query"] for one in found] == ["fi go ba", "go", "de fi"]
    assert [one["matches"][0]["position"] for one in found] == [1, 3, 2]
    assert found[1]["matches"][0]["text"] == "go"
    assert found[1]["matches"][0]["score"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "there is no query; give one behind the corpus, or a file with --queries"),
        (["a", "--count", "0"], "--count 0 must be at least 1"),
        (["a", "--index", "corpus"], "corpus exists and is no search index"),
    ],
)
def test_what_is_refused(masked_run, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").write_text("ba\n", encoding="utf-8")
    with pytest.raises(SystemExit) as stopped:
        main(["search", masked_run, "corpus", *options])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
