"""Reads the sources for the first time: counts the documents, finds the split, trains the tokenizer.

Bad input is found here, before hours of work. The number of bytes allows an estimate of the remaining
time. The tokenizer is trained only on documents that are not held out.
"""

import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxssl.data.prepared.manifest import TOKENIZER, Count
from jaxssl.data.preparing.held_out import HeldOut, choose_held_out
from jaxssl.data.preparing.units import text_bytes
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.folders import in_words
from jaxssl.data.sources.texts import (
    Document,
    RecordFiles,
    Separated,
    Skipped,
    Source,
    TextFiles,
)
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.tokenizers.grow import grow
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError

SURVEY = "survey.json"


@dataclass(frozen=True)
class Survey:
    """The result of the first reading."""

    config: dict[str, Any]
    """Description of the configuration that it was made for."""
    documents: Count
    """Number of documents; one that is divided into training and held-out parts counts once a part."""
    bytes: Count
    """Length of the text as UTF-8, in bytes."""
    skipped: Count
    """Number of documents that were left out because they are not valid text."""
    held_out: HeldOut | None
    """Which part of the documents is held out; None if the held-out ones are a source of their own."""


def read_survey(partial: Path) -> Survey | None:
    """Returns the survey that an earlier run finished in the folder `partial`; None if it is not there.

    One that cannot be read, or was written by another version, is not there either: it is made anew.
    """
    try:
        return read_json(partial / SURVEY, Survey)
    except InputError:
        return None


def survey_sources(
    source: Source,
    valid: Source | float,
    tokenizer: SentencePiece | str,
    partial: Path,
    config: dict[str, Any],
    report: TextProgress,
    *,
    lowercase: bool | None = None,
    add_words: Sequence[str] = (),
) -> Survey:
    """Reads all sources once, and writes the tokenizer and then the survey into `partial`.

    Args:
      source: The documents to train on.
      valid: The held-out documents: a source, or a fraction of `source`.
      tokenizer: Configuration of a tokenizer to train, or the path of a finished one.
      partial: Folder in which the set is made.
      config: Description of the configuration, which the survey records.
      report: Counts the documents that are read.
      lowercase: Whether a `vocab.txt` lower-cases text; None decides by its pieces.
      add_words: Words that a finished tokenizer is grown by.

    Returns:
      The survey.

    Raises:
      InputError: A source or the tokenizer cannot be read, a source is empty, or there is too little
        text to hold some out.
    """
    reading = _Reading(source, valid, report)
    for files in (source, valid):
        if isinstance(files, TextFiles | RecordFiles | Separated) and (left := files.left_out()):
            report.say(f"left out of {files.path}: {in_words(left)}")
    if isinstance(tokenizer, str):
        found: Tokenizer = load_tokenizer(tokenizer, lowercase=lowercase)
        if add_words:
            found = grow(found, add_words)
            report.say(f"the vocabulary grows by {len(found.grown):,} of {len(add_words):,} words")
        report.begin("reading")
    else:
        report.begin("reading, for the tokenizer")
        found = train_sentencepiece(reading.train_texts, tokenizer)
    survey = reading.finish(config)
    if found.note:
        report.say(found.note)
    (partial / SURVEY).unlink(missing_ok=True)
    shutil.rmtree(partial / TOKENIZER, ignore_errors=True)  # from a run that was killed here
    found.save(partial / TOKENIZER)
    write_json(partial / SURVEY, dataclasses.asdict(survey))
    return survey


def divide(source: Source, valid: Source | float, survey: Survey) -> Iterator[tuple[str, Document]]:
    """Reads all documents again, with their split.

    Args:
      source: The documents to train on.
      valid: The held-out documents: a source, or a fraction of `source`.
      survey: The survey of these sources.

    Yields:
      Pairs of "train" or "valid" and the document, in the order of the sources.
    """
    if isinstance(valid, (int, float)):
        held_out = survey.held_out or HeldOut()
        for document in source.documents():
            yield from held_out.parts(document)
    else:
        yield from (("train", document) for document in source.documents())
        yield from (("valid", document) for document in valid.documents())


class _Reading:
    """Counts documents while the tokenizer reads the texts that are not held out."""

    def __init__(self, source: Source, valid: Source | float, report: TextProgress):
        self._source, self._valid, self._report = source, valid, report
        self._held_out: HeldOut | None = None
        self._documents = Counter[str]()
        self._bytes = 0
        self._skipped = Skipped()
        self.train_texts = self._read()

    def finish(self, config: dict[str, Any]) -> Survey:
        """Reads the documents that the tokenizer did not, and returns the survey."""
        for _ in self.train_texts:
            pass
        if not (self._documents["train"] and self._documents["valid"]):
            raise InputError(
                f"the text is too short to hold out valid={self._valid} of it; set valid to a source of "
                "its own"
            )
        count = self._documents.total()
        return Survey(config, count, self._bytes, self._skipped.count, self._held_out)

    def _read(self) -> Iterator[str]:
        """Yields the texts to train on; counts the held-out ones too."""
        if isinstance(self._valid, (int, float)):
            self._held_out = choose_held_out(self._source.documents(), self._valid)
        for document in self._counted(self._source):
            parts = self._held_out.parts(document) if self._held_out else [("train", document)]
            for split, part in parts:
                self._documents[split] += 1
                if split == "train":
                    yield part.text
        if not isinstance(self._valid, (int, float)):
            for _ in self._counted(self._valid):
                self._documents["valid"] += 1

    def _counted(self, source: Source) -> Iterator[Document]:
        """Yields the documents of a source, counts their bytes, and refuses a source without any."""
        found = False
        for document in source.documents(self._skipped):
            found = True
            try:
                size = text_bytes(document.text)
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{document.name} contains a lone surrogate (half a character), "
                    f"{document.text[error.start]!r} at character {error.start}, which UTF-8 cannot "
                    "represent; fix or remove that document"
                ) from error
            self._bytes += size
            self._report.add(documents=1, text_bytes=size)
            yield document
        if not found:
            raise InputError(f"there are no documents in {source}")
