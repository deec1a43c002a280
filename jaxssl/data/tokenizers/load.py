"""Opens a tokenizer of any supported format from a file or a folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

from jaxssl.data.stores.json_files import json_text, read_json
from jaxssl.data.stores.store import fetched, is_url
from jaxssl.data.tokenizers.definition import needs_trial, parse_definition
from jaxssl.data.tokenizers.hugging_face_files import (
    SHIFTED,
    names_of,
    pairs_definition,
    pieces_definition,
    read_settings,
)
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer, from_vocabulary
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.tokenizer import DESCRIPTION, Tokenizer
from jaxssl.data.tokenizers.trial import check_tokenizer, try_definition
from jaxssl.errors import InputError

# The files that a folder is opened by; with several, the first decides
IN_FOLDERS = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "spm.model", SHIFTED),
    *("vocab.json", "vocab.txt"),
)
RUN = "tokenizer"  # folder of a run's tokenizer in the run
LARGEST_FILE = 2**28  # bytes; the largest in use have about an eighth of that


class Description(TypedDict):
    """What is read of the file that `Tokenizer.save` adds."""

    fingerprint: str
    """Fingerprint of the tokenizer."""
    parent: NotRequired[str]
    """Fingerprint of the tokenizer that it was grown from."""
    grown: NotRequired[dict[str, list[int]]]
    """Ids of the words that it was grown by, with the ids that the parent gives them."""


def load_tokenizer(
    path: str | Path,
    *,
    lowercase: bool | None = None,
    trusted: bool = False,
    names: Mapping[str, str] | None = None,
) -> Tokenizer:
    """Opens a tokenizer; the file's extension decides the format.

    A `tokenizer.json` with regular expressions, replacements or another model than WordPiece is first
    tried in a process of its own, with limits of time and memory.

    Args:
      path: A sentencepiece `.model`, a Hugging Face `tokenizer.json`, a BERT `vocab.txt`, or a
        folder that contains one of them, such as `Tokenizer.save` or Hugging Face's libraries write,
        or a `vocab.json` with its `merges.txt`. The folder may also be a URL of an object store.
      lowercase: Whether a `vocab.txt`, which does not record it, lower-cases text. None means yes
        unless more than 1 % of its pieces with letters have capital letters. Not allowed with the
        other formats.
      trusted: Whether the trial is left out, because another process has done it.
      names: Special tokens of a file by their roles, where they are not the usual ones; of a folder, the
        files beside it name them.

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
    return _checked(_open(path, lowercase, trusted, names), path)


def _open(
    path: Path, lowercase: bool | None, trusted: bool, names: Mapping[str, str] | None
) -> Tokenizer:
    """Opens a file of any format."""
    if path.suffix == ".txt":
        return from_vocabulary(_text(path), str(path), lowercase=lowercase, names=names)
    if lowercase is not None:
        raise InputError(
            f"lowercase={lowercase} is only for a vocab.txt; {path} records it itself: leave "
            "lowercase out"
        )
    match path.suffix:
        case ".model":
            return SentencePieceTokenizer(path.read_bytes(), str(path), names=names)
        case ".json":
            return _defined(_text(path), str(path), names or {}, trusted)
    raise InputError(f"tokenizer {path} is not a .model, .json or .txt file")


def _open_folder(folder: Path, lowercase: bool | None, trusted: bool) -> Tokenizer:
    """Opens the first known file of a folder, with what the files beside it say."""
    name = next((name for name in IN_FOLDERS if (folder / name).is_file()), "")
    if not name and (folder / RUN).is_dir():  # a run or a prepared set, which has its own in there
        return _load_folder(folder / RUN, lowercase, trusted)
    if not name:
        raise InputError(f"{folder} contains no {', '.join(IN_FOLDERS[:-1])} or {IN_FOLDERS[-1]}")
    settings = read_settings(folder)
    names, path = names_of(settings), folder / name
    definition = None
    if name == "vocab.json":
        definition = pairs_definition(folder, settings)
    elif path.suffix == ".model" and (settings or name == SHIFTED):
        definition = pieces_definition(folder, name, settings)
    if definition is not None:
        return _checked(_defined(json_text(definition), str(path), names, trusted), path)
    if (
        name == "vocab.txt"
        and lowercase is None
        and isinstance(settings.get("do_lower_case"), bool)
    ):
        lowercase = settings["do_lower_case"]
    return load_tokenizer(path, lowercase=lowercase, trusted=trusted, names=names)


def _grown(
    saved: Mapping[str, list[int]], tokenizer: Tokenizer, folder: Path
) -> dict[int, tuple[int, ...]]:
    """Checks and returns the ids of words that a saved tokenizer was grown by."""
    found = {}
    for id, pieces in saved.items():
        every = [*pieces, int(id) if id.isdecimal() else -1]
        if not all(0 <= one < tokenizer.vocab_size for one in every):
            raise InputError(
                f"{folder / DESCRIPTION}: grown has an id that is none: {id!r}: {pieces}"
            )
        found[every[-1]] = tuple(pieces)
    return found


def _defined(definition: str, origin: str, names: Mapping[str, str], trusted: bool) -> Tokenizer:
    """Builds a tokenizer of the content of a tokenizer.json, which is tried first where it needs that."""
    parts = parse_definition(definition, origin)
    if not trusted and needs_trial(parts):
        try_definition(definition, origin)
    return HuggingFaceTokenizer(parts, origin, names=names)


def _checked(tokenizer: Tokenizer, path: Path) -> Tokenizer:
    if problem := check_tokenizer(tokenizer):
        raise InputError(f"{path} {problem}")
    return tokenizer


def _load_folder(folder: Path, lowercase: bool | None, trusted: bool) -> Tokenizer:
    """Opens the first known file of a folder, and checks it against the saved fingerprint."""
    tokenizer = _open_folder(folder, lowercase, trusted)
    if (folder / DESCRIPTION).exists():
        saved = read_json(folder / DESCRIPTION, Description)
        if saved["fingerprint"] != tokenizer.fingerprint:
            raise InputError(f"the tokenizer in {folder} was changed after it was saved")
        tokenizer.parent = saved.get("parent", "")
        tokenizer.grown = _grown(saved.get("grown", {}), tokenizer, folder)
    return tokenizer


def _text(path: Path) -> str:
    """Reads a file as UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"tokenizer {path} is not UTF-8 at byte {error.start}") from error
