"""Opens a tokenizer of any supported format from a file or a folder."""

from pathlib import Path
from typing import TypedDict

from jaxssl.data.stores.json_files import read_json
from jaxssl.data.stores.store import fetched, is_url
from jaxssl.data.tokenizers.definition import needs_trial, parse_definition
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.tokenizer import DESCRIPTION, Tokenizer
from jaxssl.data.tokenizers.trial import check_tokenizer, try_definition
from jaxssl.errors import InputError

LARGEST_FILE = 2**28  # bytes; the largest in use have about an eighth of that


class Description(TypedDict):
    """What is read of the file that `Tokenizer.save` adds."""

    fingerprint: str
    """Fingerprint of the tokenizer."""


def load_tokenizer(
    path: str | Path, *, lowercase: bool | None = None, trusted: bool = False
) -> Tokenizer:
    """Opens a tokenizer; the file's extension decides the format.

    A `tokenizer.json` with regular expressions, replacements or another model than WordPiece is first
    tried in a process of its own, with limits of time and memory.

    Args:
      path: A sentencepiece `.model`, a Hugging Face `tokenizer.json`, a BERT `vocab.txt`, or a
        folder that contains one of them, such as `Tokenizer.save` writes. The folder may also be
        a URL of an object store.
      lowercase: Whether a `vocab.txt`, which does not record it, lower-cases text. None means yes
        unless more than 1 % of its pieces with letters have capital letters. Not allowed with the
        other formats.
      trusted: Whether the trial is left out, because another process has done it.

    Returns:
      The tokenizer.

    Raises:
      InputError: The path does not exist, has none of these formats or is damaged; `lowercase` is
        given for a format that records it; or the files of a saved folder were changed afterwards.
    """
    if is_url(path):
        with fetched(path) as folder:
            return _load_folder(folder, lowercase, trusted)
    path = Path(path)
    if path.is_dir():
        return _load_folder(path, lowercase, trusted)
    if not path.is_file():
        raise InputError(
            f"tokenizer {path} does not exist; give a .model, a tokenizer.json, a vocab.txt or a "
            "folder that contains one"
        )
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(f"tokenizer {path} is larger than {LARGEST_FILE >> 20} MiB")
    tokenizer = _open(path, lowercase, trusted)
    if problem := check_tokenizer(tokenizer):
        raise InputError(f"{path} {problem}")
    return tokenizer


def _open(path: Path, lowercase: bool | None, trusted: bool) -> Tokenizer:
    """Opens a file of any format."""
    if path.suffix == ".txt":
        return from_vocabulary(_text(path), str(path), lowercase=lowercase)
    if lowercase is not None:
        raise InputError(
            f"lowercase={lowercase} is only for a vocab.txt; {path} records it itself: leave "
            "lowercase out"
        )
    match path.suffix:
        case ".model":
            return SentencePieceTokenizer(path.read_bytes(), str(path))
        case ".json":
            definition = _text(path)
            parts = parse_definition(definition, str(path))
            if not trusted and needs_trial(parts):
                try_definition(definition, str(path))
            return HuggingFaceTokenizer(parts, str(path))
    raise InputError(f"tokenizer {path} is not a .model, .json or .txt file")


def _load_folder(folder: Path, lowercase: bool | None, trusted: bool) -> Tokenizer:
    """Opens the first known file of a folder, and checks it against the saved fingerprint."""
    for name in ("tokenizer.model", "spiece.model", "tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            tokenizer = load_tokenizer(folder / name, lowercase=lowercase, trusted=trusted)
            break
    else:
        raise InputError(
            f"{folder} contains no tokenizer.model, spiece.model, tokenizer.json or vocab.txt"
        )
    if (folder / DESCRIPTION).exists():
        saved = read_json(folder / DESCRIPTION, Description)
        if saved["fingerprint"] != tokenizer.fingerprint:
            raise InputError(f"the tokenizer in {folder} was changed after it was saved")
    return tokenizer


def _text(path: Path) -> str:
    """Reads a file as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"tokenizer {path} is not UTF-8 at byte {error.start}") from error
