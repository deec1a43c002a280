"""Masks in texts become the mask's token, and their guesses are those of the network."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import CausalLM, MaskedLM
from jaxssl.objectives.batches.batch import Vocabulary
from jaxssl.objectives.masked_lm import guess
from jaxssl.pretrained.fill import MaskFiller
from jaxssl.pretrained.load import Pretrained
from tests.tiny import tiny_spec

TEXT = TransformerConfig(depth=1, width=16, heads=2, mlp=32, max_length=16)
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "a", ".", "mat", "##s"]


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES))
    return load_tokenizer(tmp_path / "vocab.txt")


@pytest.fixture
def filler(tokenizer, key):
    objective = MaskedLM(TEXT)
    spec = tiny_spec(length=16, vocab_size=len(PIECES))
    model = objective.init(key, spec)
    return MaskFiller.of(Pretrained(None, objective, spec, tokenizer, model, 1))


def test_guesses_are_those_of_the_network(filler, tokenizer):
    """Computed by hand: begin, the, mask, sat, mask, full stop, end."""
    row = np.array([[2, 5, 4, 7, 4, 9, 3]], np.int32)
    (found,) = filler(["the [MASK] sat [MASK]."], count=7)
    assert len(found) == 2
    for position, guesses in zip((2, 4), found, strict=True):
        probabilities, ids = guess(
            filler.model, jnp.asarray(row), Vocabulary.of(tokenizer), jnp.array([position]), count=7
        )
        texts = [tokenizer.decode([int(id)]).strip() for id in ids[0]]
        assert [guess.text for guess in guesses] == texts
        np.testing.assert_allclose([g.probability for g in guesses], probabilities[0], rtol=1e-4)
        assert sum(guess.probability for guess in guesses) == pytest.approx(1.0)  # all of them


def test_many_texts_in_batches(filler):
    texts = ["the [MASK] sat", "[MASK]", "a [MASK] [MASK] sat on the cat"] * 3
    small = MaskFiller(filler.model, filler.tokenizer, filler.limit, filler.spec, batch=5)
    for one, other in zip(filler(texts), small(texts), strict=True):
        assert [[g.text for g in mask] for mask in one] == [
            [g.text for g in mask] for mask in other
        ]
    assert [len(masks) for masks in filler(texts)] == [1, 1, 2] * 3
    assert filler([]) == []


def test_the_text_behind_a_mask_is_encoded_as_in_running_text(tmp_path):
    """sentencepiece writes a full stop or a word that begins a text otherwise than within a text."""
    texts = ["the cat sat on the mat. a cat, the mat.", "the mat sat. the cats sat, a mat."] * 20
    tokenizer = train_sentencepiece(texts, SentencePiece(vocab_size=277))
    filler = MaskFiller(None, tokenizer, 32, tokenizer)

    def ids(text):
        return tokenizer.encode([text])[0].tolist()

    mask = tokenizer.mask
    for text, parts in [
        ("the [MASK].", (ids("the"), ids("a.")[len(ids("a")) :])),
        ("the [MASK] sat", (ids("the"), ids("sat"))),
        ("[MASK] cat, [MASK] mat", ([], ids("cat,"), ids("mat"))),
        ("[MASK]", ([], [])),
    ]:
        wanted = list(parts[0])
        for part in parts[1:]:
            wanted += [mask, *part]
        assert filler._row(text).tolist() == [tokenizer.begin, *wanted, tokenizer.end], text
    assert ids(".") != ids("a.")[len(ids("a")) :]
    texts = [filler._text(id) for id in np.flatnonzero(~tokenizer.special)]
    assert all(text.strip() and "\ufffd" not in text for text in texts)
    assert {"cat", ".", "<0x07>", "<0xE2>", r"\n", "' '"} <= set(texts)


def test_what_cannot_be_filled(filler, tokenizer, key):
    for texts, count, line in [
        (["the cat"], 5, r"'the cat' has no mask; write \[MASK\]"),
        (["[MASK]" + " the" * 20], 5, "has 23 tokens, and the network reads 16"),
        (["[MASK]"], 8, "count=8 must be from 1 to the 7 tokens"),
        (["[MASK]"], 0, "count=0 must be from 1"),
    ]:
        with pytest.raises(InputError, match=line):
            filler(texts, count)
    objective = CausalLM(dataclasses.replace(TEXT, causal=True))
    with pytest.raises(InputError, match="objective CausalLM has no guesses"):
        MaskFiller.of(Pretrained(None, objective, tiny_spec(), tokenizer, None, 1))
