"""What all kinds of tokenizers share: special ids, tables, and texts that never become special ids."""

import hashlib

import numpy as np
import pytest

from jaxssl.data.tokenizers.tokenizer import SPECIAL_NAMES, Tokenizer, fingerprint_of


class Letters(Tokenizer):
    """One token for each of the pieces; the first letter of a text begins a word."""

    kind = "letters"

    def __init__(self, pieces, declared=None, special=()):
        self.pieces = list(pieces)
        self._name_specials(self.pieces, SPECIAL_NAMES, declared)
        flags = [piece in special for piece in pieces]
        self._set_tables(flags, [piece == "a" for piece in self.pieces], [3] * len(self.pieces))
        self.fingerprint = fingerprint_of(*self.pieces)

    def encode(self, texts):
        return [self._checked([self.pieces.index(word) for word in t.split()]) for t in texts]

    def decode(self, ids):
        return "".join(self.pieces[i] for i in ids if not self.special[i])

    def piece(self, id):
        return self.pieces[id]

    def _write(self, folder):
        (folder / "letters").write_text(" ".join(self.pieces))


def roles(tokenizer):
    return [getattr(tokenizer, role) for role in SPECIAL_NAMES]


def test_special_ids_are_found_by_their_names():
    tokenizer = Letters(["a", "[MASK]", "<s>", "[PAD]", "b", "[UNK]", "</s>"])
    assert list(SPECIAL_NAMES) == ["pad", "unknown", "begin", "end", "mask"]
    assert roles(tokenizer) == [3, 5, 2, 6, 1]
    assert tokenizer.vocab_size == 7


def test_special_tokens_that_are_missing_are_added_behind():
    tokenizer = Letters(["a", "b", "<unk>"])
    assert roles(tokenizer) == [3, 2, 4, 5, 6]
    assert tokenizer.pieces[3:] == ["[PAD]", "[CLS]", "[SEP]", "[MASK]"]


def test_what_the_file_says_goes_first_and_no_id_is_given_twice():
    tokenizer = Letters(["a", "[CLS]", "b", "[PAD]"], declared={"begin": 2, "end": 2, "pad": -1})
    assert (tokenizer.pad, tokenizer.end) == (3, 2)  # of two roles of one token the end has its id
    assert tokenizer.stands_for == {tokenizer.begin: 2}
    assert len(set(roles(tokenizer))) == 5


def test_tables():
    tokenizer = Letters(["a", "b", ".", "[unused]"], special=("[unused]",))
    assert np.flatnonzero(tokenizer.special).tolist() == [3, *sorted(roles(tokenizer))]
    assert tokenizer.starts_word.tolist()[:4] == [True, False, False, True]
    assert tokenizer.byte_length.tolist()[:4] == [3, 3, 3, 0]
    assert tokenizer.ends_sentence.tolist()[:4] == [False, False, True, False]
    assert tokenizer.byte_length.dtype == np.int32


def test_a_text_never_gives_a_special_id_but_unknown():
    tokenizer = Letters(["a", "[MASK]", "[UNK]", "[PAD]", "b"])
    assert tokenizer.encode(["a [MASK] b [UNK] [PAD]"])[0].tolist() == [0, 2, 4, 2, 2]
    assert tokenizer.encode(["a"])[0].dtype == np.int32


def test_a_fingerprint_keeps_its_parts_apart():
    assert fingerprint_of("ab", "c") != fingerprint_of("a", "bc")
    assert fingerprint_of("ü") == fingerprint_of("ü".encode())
    assert fingerprint_of("ab") == hashlib.sha256(b"2:ab").hexdigest()


def test_the_base_is_abstract(tmp_path):
    with pytest.raises(TypeError, match="abstract"):
        Tokenizer()
    Letters("ab").save(tmp_path / "new" / "folder")
    names = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert names == {"letters", "jaxssl.json"}
