"""`jaxssl generate`: what is printed and written, and what is refused in one line."""

import json

import pytest

import jaxssl
from jaxssl.errors import InputError
from jaxssl.tools.main import main, make_parser
from jaxssl.tools.use import generate
from tests.pretrained.hand_made import new_model, save_run, state_of
from tests.shrink import prepare_words, shrink


@pytest.fixture(scope="module")
def causal_run(tmp_path_factory) -> str:
    """The folder of a causal LM with random parameters."""
    folder = tmp_path_factory.mktemp("causal")
    config = shrink("configs/gpt2_tiny.py", prepare_words(folder), folder / "run")
    return save_run(config, [(state_of(3, new_model(config)), {"loss": 1.0})])


@pytest.mark.slow
def test_texts_on_the_terminal_and_in_a_file(causal_run, tmp_path, capsys):
    options = ["--tokens", "5", "--seed", "2"]
    main(["generate", causal_run, "bar ben", *options])
    shown = capsys.readouterr().out
    model = jaxssl.load(causal_run)
    assert "generate texts" in model.can
    text = model.generate("bar ben", tokens=5, seed=2)
    assert shown == f"bar ben{text}\n"
    prompts, into = tmp_path / "prompts.txt", tmp_path / "texts.jsonl"
    prompts.write_text("bar ben\nbir\n")
    main(["generate", causal_run, "--file", str(prompts), "--into", str(into), *options])
    assert capsys.readouterr().out == f"2 texts: {into}\n"
    rows = [json.loads(line) for line in into.read_text().splitlines()]
    texts = model.generate(["bar ben", "bir"], tokens=5, seed=2)
    assert [row["text"] for row in rows] == texts
    assert [row["prompt"] for row in rows] == ["bar ben", "bir"]
    assert texts[0] == text
    main(["generate", causal_run, "bar ben", "bir", *options])
    assert capsys.readouterr().out == into.read_text()


def run(*words):
    generate.run(make_parser("generate").parse_args(["generate", *words]))


def test_what_is_refused(masked_run, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("bar\n")
    for words, line in [
        ([masked_run], "give prompts, or a file of prompts with --file; one of both"),
        ([masked_run, "bar", "--file", str(file)], "one of both"),
        ([masked_run, "--file", str(file), "--into", str(file)], "is the file of the prompts"),
        ([masked_run, "bar", "--into", str(tmp_path)], "is a folder; name a file in it"),
        ([masked_run, "bar", "--top-p", "2"], "top_p=2.0 must be above 0 and at most 1"),
        (
            [masked_run, "bar"],
            "with MaskedLM: it can embed texts and fill masks, not generate texts",
        ),
    ]:
        with pytest.raises(InputError, match=line):
            run(*words)
    assert file.read_text() == "bar\n"
