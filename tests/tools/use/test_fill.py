"""`jaxssl fill`: a table or JSON lines of what `fill` returns, and what is refused in one line."""

import json

import pytest

import jaxssl
from jaxssl.errors import InputError
from jaxssl.pretrained.fill import Guess
from jaxssl.tools.main import main, make_parser
from jaxssl.tools.use import fill


def test_a_table_has_a_column_for_each_mask():
    masks = [[Guess("end", 0.5), Guess("a", 0.25)], [Guess("list", 0.125), Guess(".", 0.001)]]
    assert fill._as_table("the [MASK] of the [MASK]", masks).splitlines() == [
        "the [MASK] of the [MASK]",
        "  end  50.0%    list  12.5%",
        "  a  25.0%      .  0.1%",
    ]


@pytest.mark.slow
def test_guesses_are_those_of_the_model(masked_run, tmp_path, capsys):
    texts = ["bar [MASK] ben", "[MASK] [MASK]"]
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(texts))
    main(["fill", masked_run, "--file", str(file), "--count", "2", "--json"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = jaxssl.load(masked_run).fill(texts, 2)
    assert [row["text"] for row in rows] == texts
    tokens = [[[guess["token"] for guess in mask] for mask in row["masks"]] for row in rows]
    assert tokens == [[[guess.text for guess in mask] for mask in text] for text in found]
    main(["fill", masked_run, texts[0], "--count", "2"])
    assert capsys.readouterr().out == fill._as_table(texts[0], found[0])


def test_what_is_refused(masked_run, tmp_path):
    for words, line in [
        ([masked_run], "give texts with .MASK., or a file of texts with --file; one of both"),
        ([masked_run, "bar <mask>"], "has no mask; write .MASK."),
        ([masked_run, "--file", str(tmp_path / "none.txt")], "none.txt does not exist"),
    ]:
        with pytest.raises(InputError, match=line):
            fill.run(make_parser("fill").parse_args(["fill", *words]))
