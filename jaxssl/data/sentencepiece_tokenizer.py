"""Sentencepiece models (Kudo & Richardson 2018), trained by us or by others."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from jaxssl.data.tokenizer import Tokenizer, fingerprint_of
from jaxssl.errors import InputError

SPACE = "\u2581"
NAMES = {
    "pad": ("[PAD]", "<pad>"),
    "begin": ("[CLS]", "<s>", "<bos>"),
    "end": ("[SEP]", "</s>", "<eos>"),
    "mask": ("[MASK]", "<mask>"),
}


class SentencePieceTokenizer(Tokenizer):
    """Lines are encoded one by one, so that the first word of a line looks like any other word."""

    kind = "sentencepiece"

    def __init__(self, model: bytes, origin: str = "the model"):
        self._model = model
        try:
            self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError as error:
            raise InputError(f"{origin} is no sentencepiece model: {error}") from error
        own = self._processor.get_piece_size()
        ids = range(own)
        self._pieces = [self._processor.id_to_piece(i) for i in ids]
        self.unknown = self._processor.unk_id()
        for name in NAMES:  # what the model lacks is added behind its ids
            setattr(self, name, self._find(name))
        control = [self._processor.is_control(i) or self._processor.is_unused(i) for i in ids]
        is_byte = np.array([self._processor.is_byte(i) for i in ids])
        self.special = np.array(control + [True] * (len(self._pieces) - own))
        self.special[[self.pad, self.unknown, self.begin, self.end, self.mask]] = True
        spaced = [piece.startswith(SPACE) or piece == "\n" for piece in self._pieces]
        self.starts_word = np.array(spaced) | self.special
        lengths = [len(piece.replace(SPACE, " ").encode()) for piece in self._pieces]
        self.byte_length = np.where(self.special, 0, lengths).astype(np.int32)
        self.byte_length[:own][is_byte] = 1
        self._newline = self._newline_ids()
        self.fingerprint = fingerprint_of(model)

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        lines = [text.split("\n") for text in texts]
        encoded = iter(self._processor.encode([line for text in lines for line in text]))
        results = []
        for text in lines:
            ids = list(next(encoded))
            for _ in text[1:]:
                ids += self._newline
                ids += next(encoded)
            results.append(np.array(ids, np.int32))
        return results

    def decode(self, ids: Sequence[int]) -> str:
        kept = [int(i) for i in ids if not self.special[i]]
        if len(self._newline) != 1:
            return str(self._processor.decode(kept))
        lines: list[list[int]] = [[]]
        for i in kept:
            if i == self._newline[0]:
                lines.append([])
            else:
                lines[-1].append(i)
        return "\n".join(str(self._processor.decode(line)) if line else "" for line in lines)

    def piece(self, id: int) -> str:
        return self._pieces[id].replace(SPACE, " ").replace("\n", "\\n")

    def _write(self, folder: Path) -> None:
        (folder / "tokenizer.model").write_bytes(self._model)

    def _find(self, name: str) -> int:
        declared = {"pad": "pad_id", "begin": "bos_id", "end": "eos_id"}.get(name)
        if declared and (found := getattr(self._processor, declared)()) >= 0:
            return int(found)
        for piece in NAMES[name]:
            if piece in self._pieces:
                return self._pieces.index(piece)
        self._pieces.append(NAMES[name][0])
        return len(self._pieces) - 1

    def _newline_ids(self) -> list[int]:
        """The tokens of a line's end: one of its own, its byte, or none where the model has neither."""
        for piece in ("\n", "<0x0A>"):
            found = self._processor.piece_to_id(piece)
            if found != self.unknown:
                return [found]
        return []
