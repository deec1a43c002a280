"""Words of rows, and the steps after which so many have been seen."""

import numpy as np
import pytest

from jaxssl.data import Rows
from jaxssl.errors import InputError
from jaxssl.exporting.row_content import RowContent, row_content, steps_at, words_of
from jaxssl.models import TransformerConfig
from jaxssl.objectives import MaskedLM
from jaxssl.training.config import Pretraining

OBJECTIVE = MaskedLM(TransformerConfig(depth=1, width=16, heads=2))


@pytest.mark.parametrize(
    ("text", "words"), [("3000", 3000), ("10M", 10**7), ("1.5b", 15 * 10**8), ("2k", 2000)]
)
def test_numbers_of_words(text, words):
    assert words_of(text) == words


@pytest.mark.parametrize("text", ["", "M", "0", "-1M", "nan", "1e400", "ten", "1MM"])
def test_what_is_no_number_of_words(text):
    with pytest.raises(InputError, match="is no number of words; write it as 10M"):
        words_of(text)


def test_a_step_is_the_first_that_reaches_the_words():
    content = RowContent(tokens=20.0, words=12.5)
    assert steps_at(["100", "101", "1K"], content, 4) == {2: ["100"], 3: ["101"], 20: ["1K"]}
    assert steps_at(["1K", "1001"], content, 400) == {1: ["1K", "1001"]}


def test_words_begin_where_the_tokenizer_says(word_rows):
    config = Pretraining(data=Rows(word_rows, batch=16), objective=OBJECTIVE)
    content = row_content(config)
    reader = config.data.open("train", seed=0, shuffle=False)
    rows = np.concatenate([reader.batch(n)["tokens"] for n in range(reader.batches)])[: reader.rows]
    is_text = ~reader.spec.special[rows]
    # All rows are counted here, the last batch with some of the next epoch.
    assert content.tokens == pytest.approx(is_text.sum() / reader.rows, rel=0.05)
    words = (is_text & reader.spec.starts_word[rows]).sum() / reader.rows
    assert content.words == pytest.approx(words, rel=0.05)
    assert 0 < content.words <= content.tokens < 32
    assert [len(digest) for digest in content.manifests.values()] == [64]
    assert list(content.manifests) == [word_rows]
