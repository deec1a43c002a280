"""Opens a tokenizer of any supported format from a file or a folder."""

import json
from pathlib import Path

from jaxssl.data.stores.store import fetched, is_url
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.tokenizer import DESCRIPTION, Tokenizer
from jaxssl.errors import InputError


def load_tokenizer(path: str | Path, *, lowercase: bool | None = None) -> Tokenizer:
    """Opens a tokenizer; the file's extension decides the format.

    Args:
      path: A sentencepiece `.model`, a Hugging Face `tokenizer.json`, a BERT `vocab.txt`, or a
        folder that contains one of them, such as `Tokenizer.save` writes. The folder may also be
        a URL of an object store.
      lowercase: Whether a `vocab.txt`, which does not record it, lower-cases text. None means yes
        if the vocabulary has no upper-case piece. Not allowed with the other formats.

    Returns:
      The tokenizer.

    Raises:
      InputError: The path does not exist, has none of these formats or is damaged; `lowercase` is
        given for a format that records it; or the files of a saved folder were changed afterwards.
    """
    if is_url(path):
        with fetched(path) as folder:
            return _load_folder(folder, lowercase)
    path = Path(path)
    if path.is_dir():
        return _load_folder(path, lowercase)
    if not path.is_file():
        raise InputError(
            f"tokenizer {path} does not exist; give a .model, a tokenizer.json, a vocab.txt or a "
            "folder that contains one"
        )
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
            return HuggingFaceTokenizer(_text(path), str(path))
    raise InputError(f"tokenizer {path} is not a .model, .json or .txt file")


def _load_folder(folder: Path, lowercase: bool | None) -> Tokenizer:
    """Opens the first known file of a folder, and checks it against the saved fingerprint."""
    for name in ("tokenizer.model", "spiece.model", "tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            tokenizer = load_tokenizer(folder / name, lowercase=lowercase)
            break
    else:
        raise InputError(
            f"{folder} contains no tokenizer.model, spiece.model, tokenizer.json or vocab.txt"
        )
    if (folder / DESCRIPTION).is_file():
        saved = json.loads(_text(folder / DESCRIPTION))["fingerprint"]
        if saved != tokenizer.fingerprint:
            raise InputError(f"the tokenizer in {folder} was changed after it was saved")
    return tokenizer


def _text(path: Path) -> str:
    """Reads a file as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"tokenizer {path} is not UTF-8 at byte {error.start}") from error
