"""Reads sentencepiece models, whether trained by this library or elsewhere.

References:
  Kudo & Richardson 2018, "SentencePiece: a simple and language independent subword tokenizer and
  detokenizer for neural text processing".
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from jaxssl.data.tokenizers.given_texts import refuse_a_string
from jaxssl.data.tokenizers.pieces import SPACE, begins_word
from jaxssl.data.tokenizers.tokenizer import SPECIAL_NAMES, Tokenizer, fingerprint_of
from jaxssl.errors import InputError


class SentencePieceTokenizer(Tokenizer):
    """A tokenizer defined by a sentencepiece model.

    If the line break is a piece of its own, as in the models that this library trains, lines are
    encoded one by one, joined by that piece. Sentencepiece puts a space before each line, so that
    the first word of a line has the same pieces as anywhere else. In `byte_length`, that space
    counts for the byte of the line break, whose own piece counts 0. The sum is therefore exact up
    to one byte more at the start of a text, and one byte less for each blank line.

    With normalization "identity", decoding returns the encoded text exactly, unless the text
    contains U+2581 itself, the character that sentencepiece writes for a space.

    Args:
      model: The contents of a `.model` file.
      origin: Name of the source, such as its path, for error messages.
      names: Special tokens by their roles, where they are not the usual ones.

    Raises:
      InputError: `model` is not a sentencepiece model.
    """

    kind = "sentencepiece"
    model: bytes
    """The contents of the `.model` file."""

    def __init__(
        self, model: bytes, origin: str = "the model", *, names: Mapping[str, str] | None = None
    ):
        self.model = model
        if not model:
            raise InputError(f"{origin} is not a sentencepiece model: it is empty")
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
            own = range(self._processor.get_piece_size())
            pieces = [self._processor.id_to_piece(i) for i in own]
        except RuntimeError as error:
            raise InputError(f"{origin} is not a sentencepiece model") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{origin} is damaged: a piece is not UTF-8 ({error})") from error
        self._line_end = self._find_line_end(pieces)
        declared = {
            "pad": self._processor.pad_id(),
            "unknown": self._processor.unk_id(),
            "begin": self._processor.bos_id(),
            "end": self._processor.eos_id(),
        }
        said = self._ids_of_names({piece: i for i, piece in enumerate(pieces)}, names or {})
        declared |= {role: id for role, id in said.items() if id >= 0}
        self._name_specials(pieces, SPECIAL_NAMES, declared)
        reserved = [self._processor.is_control(i) or self._processor.is_unused(i) for i in own]
        is_byte = [self._processor.is_byte(i) for i in own]
        self._texts = [piece.replace(SPACE, " ") for piece in pieces]
        self._set_tables(
            special=reserved,
            starts_word=[begins_word(text) for text in self._texts],
            byte_length=[
                1 if is_a_byte else len(text.encode("utf-8"))
                for text, is_a_byte in zip(self._texts, is_byte + [False] * 5, strict=False)
            ],
        )
        if self._line_end is not None:
            self.byte_length[self._line_end] = 0
        named = [json.dumps(self.names, sort_keys=True)] if self.names else []
        self.fingerprint = fingerprint_of(model, *named)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Converts each of `texts` to token ids, int32 `[length]`, without `begin` and `end`."""
        refuse_a_string(texts)
        if self._line_end is None:
            encoded = self._processor.encode(list(texts), num_threads=1)
            return [self._checked(ids) for ids in encoded]
        lines = [text.split("\n") for text in texts]
        every = [line for text in lines for line in text]
        encoded_lines = iter(self._processor.encode(every, num_threads=1))
        results = []
        for text in lines:
            ids = next(encoded_lines)
            for _ in text[1:]:
                ids.append(self._line_end)
                ids += next(encoded_lines)
            results.append(self._checked(ids))
        return results

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids`, a sequence `[length]`; special tokens are left out."""
        lines: list[list[int]] = [[]]
        for i in ids:
            if i == self._line_end:
                lines.append([])
            elif not self.special[i]:
                lines[-1].append(int(i))
        return "\n".join(self._processor.decode(line) if line else "" for line in lines)

    def normalized(self, word: str) -> str:
        """Returns a `word` as the model sees it at the beginning of a line, spaces written as U+2581."""
        return str(self._processor.normalize(word))

    def piece(self, id: int) -> str:
        """Returns the token `id` in readable form."""
        return self._texts[id].replace("\n", "\\n")

    def _write(self, folder: Path) -> None:
        (folder / "tokenizer.model").write_bytes(self.model)

    def _find_line_end(self, pieces: list[str]) -> int | None:
        """Returns the id of the piece "\\n" if no other piece contains a line break, otherwise None.

        Only then can lines be encoded one by one.
        """
        holds_one = [i for i, piece in enumerate(pieces) if "\n" in piece]
        return holds_one[0] if [pieces[i] for i in holds_one] == ["\n"] else None
