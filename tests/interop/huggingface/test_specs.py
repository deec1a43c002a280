"""What a network of a folder reads: ids with a row in its tables."""

import numpy as np
import pytest

from jaxssl.errors import InputError
from jaxssl.interop.huggingface.specs import text_spec
from tests.interop.huggingface.test_tokenizer_files import byte_level


def test_a_special_id_without_a_row_is_that_of_the_token_it_stands_for():
    tokenizer = byte_level()
    assert (tokenizer.end, tokenizer.begin, tokenizer.vocab_size) == (259, 262, 264)
    spec = text_spec({"vocab_size": 260}, tokenizer)
    assert (spec.vocab_size, spec.begin, spec.end) == (260, 259, 259)
    padded = text_spec({"vocab_size": 320}, tokenizer)
    assert (padded.vocab_size, padded.begin, padded.end) == (320, 262, 259)
    assert np.flatnonzero(~padded.special).tolist() == list(range(259))
    with pytest.raises(InputError, match="has 264 ids, and config.json says vocab_size=200"):
        text_spec({"vocab_size": 200}, tokenizer)
