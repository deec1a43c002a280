"""Opens a tokenizer from a file or a folder, whatever its kind."""

import json
from pathlib import Path

from jaxssl.data.stores.store import fetched, is_url
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.tokenizer import DESCRIPTION, Tokenizer
from jaxssl.errors import InputError


def load_tokenizer(path: str | Path, *, lowercase: bool | None = None) -> Tokenizer:
    """From a folder written by `save`, a sentencepiece .model, a tokenizer.json, or a vocab.txt.

    The folder may be on an object store.
    lowercase: of a vocab.txt, which does not say it; None: if it has no upper-case piece.
    Raises InputError for what is missing or none of these.
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
            "folder that holds one"
        )
    if path.suffix == ".txt":
        return from_vocabulary(_text(path), str(path), lowercase=lowercase)
    if lowercase is not None:
        raise InputError(f"{path} says itself what it does with case; leave out lowercase")
    match path.suffix:
        case ".model":
            return SentencePieceTokenizer(path.read_bytes(), str(path))
        case ".json":
            return HuggingFaceTokenizer(_text(path), str(path))
    raise InputError(f"tokenizer {path} is no .model, .json or .txt file")


def _load_folder(folder: Path, lowercase: bool | None) -> Tokenizer:
    for name in ("tokenizer.model", "spiece.model", "tokenizer.json", "vocab.txt"):
        if (folder / name).is_file():
            tokenizer = load_tokenizer(folder / name, lowercase=lowercase)
            break
    else:
        raise InputError(f"{folder} holds no tokenizer.model, tokenizer.json or vocab.txt")
    if (folder / DESCRIPTION).is_file():
        saved = json.loads(_text(folder / DESCRIPTION))["fingerprint"]
        if saved != tokenizer.fingerprint:
            raise InputError(f"the tokenizer in {folder} was changed after it was saved")
    return tokenizer


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"tokenizer {path}, byte {error.start} is no UTF-8") from error
