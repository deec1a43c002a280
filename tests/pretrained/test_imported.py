import jax
import numpy as np
import pytest

import jaxssl
from jaxssl.errors import InputError
from jaxssl.pretrained.load import load_pretrained
from jaxssl.runs.description import describe, rebuild
from tests.interop.huggingface.small_folders import WORDS, small_bert


def test_a_folder_is_what_a_run_has_made(tmp_path):
    folder = small_bert(tmp_path)
    found = load_pretrained(f"hf:{folder}", carried=True)
    assert found.step == 0
    assert found.spec.vocab_size == 19
    assert found.tokenizer.vocab_size == len(WORDS)
    assert found.spec.special[len(WORDS) :].all()
    assert found.text_network.config == found.objective.encoder
    assert found.config.data.path == f"hf:{folder}"
    assert rebuild(describe(found.config)) == found.config


def test_a_step_that_there_is_not_is_refused(tmp_path):
    folder = small_bert(tmp_path)
    with pytest.raises(InputError, match="step 0, not 7"):
        load_pretrained(f"hf:{folder}", which=7)
    with pytest.raises(InputError, match="no folder"):
        load_pretrained(f"hf:{tmp_path / 'nowhere'}")


def test_what_an_imported_network_can_do(tmp_path):
    model = jaxssl.load(f"hf:{small_bert(tmp_path / 'head')}")
    assert model.can == ("embed texts", "fill masks")
    assert "an imported BertForMaskedLM" in repr(model)
    bare = jaxssl.load(f"hf:{small_bert(tmp_path / 'bare', 'BertModel')}")
    assert bare.can == ("embed texts",)  # its head is random
    silent = jaxssl.load(f"hf:{small_bert(tmp_path / 'silent', tokenizer=False)}")
    assert silent.can == ()
    with pytest.raises(InputError, match="no tokenizer"):
        silent.loaded.tokenizer  # noqa: B018


@pytest.mark.slow
def test_guesses_are_tokens_though_the_table_is_larger(tmp_path):
    model = jaxssl.load(f"hf:{small_bert(tmp_path)}")
    guesses = model.fill("the [MASK] runs", count=9)[0]
    assert {guess.text for guess in guesses} == {
        "a",
        "dog",
        "cat",
        "runs",
        "sleeps",
        "two",
        "##s",
        "the",
        ".",
    }
    vectors = model.embed(["a dog runs .", "the cat"])
    assert vectors.shape == (2, 6)
    assert np.isfinite(vectors).all()
    assert len(jax.tree.leaves(model.loaded.model)) > 20
