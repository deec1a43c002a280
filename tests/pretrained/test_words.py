"""Word vectors: neighbours by hand, names of tokens, and the table of a run."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxssl.data.rows import Rows
from jaxssl.errors import InputError
from jaxssl.models.recipes import bert
from jaxssl.objectives import MaskedLM, WordVectors
from jaxssl.pretrained.words import WordTable, load_word_table, show_neighbours, token_names
from jaxssl.training.config import Pretraining
from tests.pretrained.hand_made import new_model, save_run, state_of

VECTORS = np.array([[2.0, 0.0], [3.0, 4.0], [0.0, 5.0], [1.0, 0.1], [0.0, 0.0]], np.float32)
TABLE = WordTable(("king", "queen", "house", "##s", "none"), VECTORS)


def test_neighbours_by_hand():
    """The nearest, `##s`, is no word; lengths of vectors do not matter."""
    names, values = zip(*TABLE.nearest("king"), strict=True)
    assert names[0] == "queen"
    assert set(names) == {"queen", "house", "none"}
    assert values == pytest.approx((0.6, 0.0, 0.0))
    assert TABLE.nearest("house", 1) == [("queen", pytest.approx(0.8))]
    assert TABLE.similarity("queen", "house") == pytest.approx(0.8)
    assert TABLE.similarity("king", "##s") == pytest.approx(1 / np.sqrt(1.01))
    assert TABLE.similarity("none", "king") == 0.0
    with pytest.raises(InputError, match="'prince' is no token of its own"):
        TABLE.nearest("prince")
    with pytest.raises(InputError, match="'prince' is no token of its own"):
        TABLE.similarity("king", "prince")


def test_neighbours_are_shown_one_word_a_line():
    assert show_neighbours(TABLE, ["house", "queen"], count=1) == (
        "house: queen 0.80\nqueen: house 0.80"
    )


def test_a_string_is_no_list_of_words_and_counts_are_positive():
    with pytest.raises(InputError, match="words is a single string, 'house'"):
        show_neighbours(TABLE, "house")
    for count in (0, -1):
        with pytest.raises(InputError, match=f"count={count} must be at least 1"):
            show_neighbours(TABLE, ["house"], count=count)


def test_names_of_tokens():
    """Special tokens and tokens that are no single word are left out; the first of a name counts."""
    pieces = ["[PAD]", " the", "the", "ing", "##ly", " ", "a b", " the", "\n", "\\n", "\\n\\n"]
    starts = [True, True, False, False, False, *[True] * 6]  # line breaks are shown as \\n
    tokenizer = SimpleNamespace(
        special=np.array([True] + [False] * 10), starts_word=starts, piece=pieces.__getitem__
    )
    assert token_names(tokenizer) == {"the": 1, "##the": 2, "##ing": 3, "##ly": 4}


@pytest.mark.parametrize("kind", ["vectors", "network"])
def test_the_table_of_a_run(word_rows, tmp_path, kind):
    """Input vectors of a word-vector model; of another run the embeddings of its network's tokens."""
    objectives = {"vectors": WordVectors(width=8), "network": MaskedLM(encoder=bert(1, 16, 2))}
    config = Pretraining(
        Rows(word_rows, batch=4), objectives[kind], run=str(tmp_path / "run"), steps=2
    )
    model = new_model(config)
    save_run(config, [(state_of(1, model), None)])
    table = load_word_table(config.run)
    embedding = model.words if kind == "vectors" else model.encoder.tokens
    tokenizer = config.data.open("train", seed=0).tokenizer
    for word in ("bat", "mot"):
        row = np.asarray(embedding.embedding[...])[tokenizer.encode([word])[0][0]]
        np.testing.assert_array_equal(table.vectors[table.ids[word]], row)
    assert len(table.words) == len(set(table.words)) == len(table.vectors) == 100
