"""The first reading of the sources: what is there, how it is split, and the tokenizer.

Bad input shows here, before hours of work; the number of bytes makes an estimate of the time left
possible; and a tokenizer that is trained sees only documents that are not held out.
"""

import dataclasses
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxssl.data.prepared.manifest import TOKENIZER
from jaxssl.data.preparing.split import SplitByName, SplitSeeker
from jaxssl.data.preparing.units import text_bytes
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.texts import Document, Skipped, Source
from jaxssl.data.stores.json_files import read_json, write_json
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece, train_sentencepiece
from jaxssl.errors import InputError

SURVEY = "survey.json"


@dataclass(frozen=True)
class Survey:
    """What the first reading found, and for which configuration."""

    config: dict[str, Any]
    documents: int
    bytes: int  # of text as UTF-8
    skipped: int  # documents whose bytes are no UTF-8
    moved: str | None  # the document that SplitByName moves


def read_survey(partial: Path) -> Survey | None:
    """The survey of an earlier run, once it was finished and the tokenizer with it."""
    path = partial / SURVEY
    return Survey(**read_json(path)) if path.is_file() else None


def survey_sources(
    source: Source,
    valid: Source | float,
    tokenizer: SentencePiece | str,
    partial: Path,
    config: dict[str, Any],
    report: TextProgress,
) -> Survey:
    """Reads everything once; leaves the tokenizer and then the survey in `partial`.

    Raises InputError for whatever the sources and the tokenizer refuse, and if there is nothing to
    train on or to hold out.
    """
    reading = _Reading(source, valid, report)
    if isinstance(tokenizer, str):
        found: Tokenizer = load_tokenizer(tokenizer)
        report.begin("reading")
    else:
        report.begin("reading, for the tokenizer")
        found = train_sentencepiece(reading.train_texts, tokenizer)
    survey = reading.finish(config)
    shutil.rmtree(partial / TOKENIZER, ignore_errors=True)  # of a run that was killed just here
    found.save(partial / TOKENIZER)
    write_json(partial / SURVEY, dataclasses.asdict(survey))
    return survey


def divide(source: Source, valid: Source | float, survey: Survey) -> Iterator[tuple[str, Document]]:
    """All documents with their split, in the order of the sources."""
    if isinstance(valid, (int, float)):
        split = SplitByName(valid, survey.moved)
        for document in source.documents():
            yield split.of(document.name), document
    else:
        yield from (("train", document) for document in source.documents())
        yield from (("valid", document) for document in valid.documents())


class _Reading:
    """Counts documents while it gives the tokenizer the texts that are not held out."""

    def __init__(self, source: Source, valid: Source | float, report: TextProgress):
        self._source, self._valid, self._report = source, valid, report
        self._seeker = SplitSeeker(valid) if isinstance(valid, (int, float)) else None
        self._documents = self._bytes = 0
        self._skipped = Skipped()
        self.train_texts = self._read()

    def finish(self, config: dict[str, Any]) -> Survey:
        """Reads what is left and tells what was found."""
        for _ in self.train_texts:
            pass
        moved = self._seeker.split().moved if self._seeker else None
        return Survey(config, self._documents, self._bytes, self._skipped.count, moved)

    def _read(self) -> Iterator[str]:
        for document in self._counted(self._source):
            if not (self._seeker and self._seeker.add(document.name)):
                yield document.text
        if not isinstance(self._valid, (int, float)):
            for _ in self._counted(self._valid):
                pass

    def _counted(self, source: Source) -> Iterator[Document]:
        before = self._documents
        for document in source.documents(self._skipped):
            try:
                size = text_bytes(document.text)
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{document.name} holds half a character, {document.text[error.start]!r} at "
                    f"character {error.start}, and no file can; mend or remove that document"
                ) from error
            self._documents += 1
            self._bytes += size
            self._report.add(documents=1, text_bytes=size)
            yield document
        if self._documents == before:
            raise InputError(f"there is no document in {source}")
