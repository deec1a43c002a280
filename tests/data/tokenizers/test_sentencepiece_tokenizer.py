"""Sentencepiece: exact round trips, words and bytes; others' models; refusals."""

import io
import random

import numpy as np
import pytest
import sentencepiece

from jaxssl.data.sources.standard_library import topics
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.data.tokenizers.trial import check_tokenizer
from jaxssl.errors import InputError
from tests.data.words import bytes_of, check_face, words_of

TEXTS = [text for _, text in topics()[:20]]
ALPHABET = " \t\n\n  ab.,[]MASKéß中国🙂\u200d\x00\r\u2028\x85\ufeff\xa0\u3000\u0301\U0010ffff"


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    return train_sentencepiece(TEXTS, SentencePiece(vocab_size=500, kind=request.param))


def test_face(tokenizer):
    check_face(tokenizer)
    ids = [tokenizer.pad, tokenizer.unknown, tokenizer.begin, tokenizer.end, tokenizer.mask]
    assert ids == [0, 1, 2, 3, 4]
    assert np.flatnonzero(tokenizer.special).tolist() == ids


@pytest.mark.parametrize(
    "text", ["", " ", "\n", "\n\n a  b\t\n", "中文，🙂 x", *TEXTS[:5]], ids=lambda text: text[:8]
)
def test_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode([text])[0]) == text


def test_any_text_comes_back(tokenizer):
    choose = random.Random(0)
    texts = ["".join(choose.choices(ALPHABET, k=choose.randint(0, 12))) for _ in range(500)]
    assert [tokenizer.decode(ids) for ids in tokenizer.encode(texts)] == texts


def test_lines_look_alike_wherever_they_stand(tokenizer):
    first, both = tokenizer.encode(["The first line", "Other\nThe first line"])
    line_end = both.tolist().index(5)
    assert both[line_end + 1 :].tolist() == first.tolist()
    assert tokenizer.piece(5) == "\\n"


def test_words(tokenizer):
    text = TEXTS[0]
    assert words_of(tokenizer, text) == text.split()
    assert words_of(tokenizer, "Größe  🙂中国\n\n\tend") == [
        "Größe",
        "🙂中国",
        "end",
    ]  # 中 is bytes


def test_bytes_are_those_of_the_text_and_one(tokenizer):
    for text in ("a", "Größe 🙂 中国", "a\nb\n c", TEXTS[0].replace("\n\n", "\n")):
        assert bytes_of(tokenizer, text) == len(text.encode()) + 1
    assert bytes_of(tokenizer, "a\n\nb") == len("a\n\nb")  # a blank line counts one less


def test_saved_and_loaded(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "saved")
    loaded = load_tokenizer(tmp_path / "saved")
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.encode(TEXTS[:2])[1].tolist() == tokenizer.encode(TEXTS[:2])[1].tolist()
    model = tmp_path / "saved" / "tokenizer.model"
    assert load_tokenizer(model).fingerprint == tokenizer.fingerprint
    other = train_sentencepiece(TEXTS, SentencePiece(vocab_size=400))
    assert other.fingerprint != tokenizer.fingerprint
    other._write(tmp_path / "saved")
    with pytest.raises(InputError, match="was changed after it was saved"):
        load_tokenizer(tmp_path / "saved")


def test_a_model_of_others_keeps_its_ids_and_gets_what_it_lacks():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(  # like T5: no begin, no mask, white space is folded
        sentence_iterator=iter(" ".join(TEXTS[:5]).split("\n")),
        model_writer=model,
        vocab_size=300,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        user_defined_symbols=["[MASK]"],
        minloglevel=2,
    )
    tokenizer = SentencePieceTokenizer(model.getvalue())
    check_face(tokenizer)
    assert (tokenizer.pad, tokenizer.end, tokenizer.unknown, tokenizer.begin) == (0, 1, 2, 300)
    assert tokenizer.mask == 3  # a piece that text could give: it gives unknown instead
    assert tokenizer.unknown in tokenizer.encode(["a [MASK] b"])[0]
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    text = "one\ntwo  three"
    assert tokenizer.encode([text])[0].tolist() == processor.encode(text)
    assert tokenizer.decode(tokenizer.encode([text])[0]) == "one two three"


def test_any_damage_is_refused_in_one_line_or_works(tokenizer):
    refusals = []
    for seed in range(200):
        chance, data = random.Random(seed), bytearray(tokenizer.model)
        for _ in range(chance.choice([1, 1, 2, 5])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            damaged = SentencePieceTokenizer(bytes(data))
        except InputError as error:
            refusals.append(str(error))
            continue
        special = {damaged.pad, damaged.unknown, damaged.begin, damaged.end, damaged.mask}
        assert len(special) == 5
        assert max(special) < damaged.vocab_size
        check_tokenizer(damaged)
    assert refusals
    assert all("\n" not in message for message in refusals)


def test_a_string_is_no_list_of_texts(tokenizer):
    with pytest.raises(InputError, match="texts is a single string, 'the cat'; pass a list"):
        tokenizer.encode("the cat")
