"""Words as the tables of a tokenizer tell them: the slow, obvious way."""

import numpy as np

from jaxssl.data.tokenizers.tokenizer import Tokenizer


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """The text cut before every token that begins a word, white space left out."""
    words: list[list[int]] = []
    for token in tokenizer.encode([text])[0].tolist():
        if tokenizer.starts_word[token] or not words:
            words.append([])
        words[-1].append(token)
    found = [tokenizer.decode(word).strip() for word in words]
    return [word for word in found if word]


def bytes_of(tokenizer: Tokenizer, text: str) -> int:
    return sum(int(tokenizer.byte_length[token]) for token in tokenizer.encode([text])[0])


def check_face(tokenizer: Tokenizer) -> None:
    """What holds for every tokenizer."""
    ids = [tokenizer.pad, tokenizer.unknown, tokenizer.begin, tokenizer.end, tokenizer.mask]
    assert len(set(ids)) == 5
    assert max(ids) < tokenizer.vocab_size
    assert tokenizer.special[ids].all()
    assert tokenizer.starts_word[tokenizer.special].all()
    assert not tokenizer.byte_length[tokenizer.special].any()
    shape = (tokenizer.vocab_size,)
    assert tokenizer.special.shape == tokenizer.starts_word.shape == shape
    assert tokenizer.byte_length.shape == tokenizer.ends_sentence.shape == shape
    assert not (tokenizer.ends_sentence & tokenizer.special).any()
    assert tokenizer.byte_length.dtype == np.int32
    texts = ["", "one two", "[MASK] [SEP][CLS] <s></s> <|endoftext|>[unused1] <pad>"]
    encoded = tokenizer.encode(texts)
    assert [array.dtype for array in encoded] == [np.int32] * 3
    assert len(encoded[0]) == 0
    assert not (tokenizer.special[encoded[2]] & (encoded[2] != tokenizer.unknown)).any()
    alone = [tokenizer.encode([text])[0].tolist() for text in texts]
    assert alone == [array.tolist() for array in encoded]
    assert all(tokenizer.piece(i) for i in encoded[1])
    assert tokenizer.decode(ids) == ""
