"""The files of a tokenizer in a Hugging Face folder, beside or instead of a tokenizer.json.

tokenizer_config.json, special_tokens_map.json   names of the special tokens by their roles
vocab.json and merges.txt                        byte-level pairs (GPT-2, RoBERTa, BART)
spiece.model, tokenizer.model, spm.model         sentencepiece, its ids as they are (T5, Llama, ALBERT)
sentencepiece.bpe.model                          sentencepiece with shifted ids (XLM-RoBERTa)
added_tokens.json, added_tokens_decoder          tokens behind the vocabulary
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxssl.data.stores.json_files import parse_json, read_json
from jaxssl.data.stores.json_types import checked
from jaxssl.data.tokenizers.definition import MOST_IDS
from jaxssl.data.tokenizers.sentencepiece_definition import definition_of, parse_model
from jaxssl.errors import InputError, brief

CONFIG, SPECIALS, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
MERGES = "merges.txt"
SHIFTED = "sentencepiece.bpe.model"
# The token that the files of a folder name for each role: the first that is there
ROLES = {
    "pad": ("pad_token",),
    "unknown": ("unk_token",),
    "begin": ("cls_token", "bos_token"),
    "end": ("sep_token", "eos_token"),
    "mask": ("mask_token",),
}
T5_SENTINELS = 100
LARGEST_SETTINGS = 2**26  # bytes
# What transformers writes for "no limit": int(1e30), a number too large for read_json
NO_LIMIT = re.compile(rb'("model_max_length"\s*:\s*)1000000000000000019884624838656\b')
# Special tokens of RoBERTa that the files of a folder need not name: they are among its first ids
USUAL, AMONG_FIRST = ("<s>", "<pad>", "</s>", "<unk>", "<mask>"), 5
WAY_OUT = (
    "write a tokenizer.json beside it with transformers: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)


def read_settings(folder: Path) -> dict[str, Any]:
    """Returns tokenizer_config.json and special_tokens_map.json of a folder as one; {} without them.

    Raises:
      InputError: One of them is no JSON object.
    """
    found: dict[str, Any] = {}
    for name in (SPECIALS, CONFIG):
        if (folder / name).is_file():
            settings = _read(folder / name)
            found |= {key: value for key, value in settings.items() if value is not None}
    return found


def _read(path: Path) -> dict[str, Any]:
    """The content of a JSON file, in which a length without a limit is null."""
    if path.stat().st_size > LARGEST_SETTINGS:
        raise InputError(f"{path} cannot be read (it is larger than {LARGEST_SETTINGS >> 20} MiB)")
    try:
        content = NO_LIMIT.sub(rb"\1null", path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})") from error
    found: dict[str, Any] = checked(parse_json(content, str(path)), dict[str, Any], str(path))
    return found


def names_of(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns the special token of each role that the files of a folder name, such as `{"end": "</s>"}`.

    Args:
      settings: What `read_settings` returns.
    """
    found = {}
    for role, keys in ROLES.items():
        tokens = [_content(settings.get(key)) for key in keys]
        if token := next(filter(None, tokens), ""):
            found[role] = token
    return found


def added_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[str, int]:
    """Returns the ids of the tokens that a folder adds to its vocabulary.

    Args:
      folder: The folder.
      settings: What `read_settings` returns.

    Raises:
      InputError: An id is no number, or too large.
    """
    found: dict[str, Any] = {}
    if (folder / ADDED).is_file():
        found |= read_json(folder / ADDED, dict[str, Any])
    decoder = settings.get("added_tokens_decoder")
    for id, token in decoder.items() if isinstance(decoder, dict) else ():
        if (content := _content(token)) and str(id).isdecimal():
            found[content] = int(id)
    for content, id in found.items():
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < MOST_IDS:
            raise InputError(f"{folder}: the added token {brief(content)} has the id {brief(id)}")
    return found


def pairs_definition(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the tokenizer.json of a vocab.json with its merges.txt, byte-level pairs.

    Args:
      folder: The folder.
      settings: What `read_settings` returns.

    Raises:
      InputError: A file is missing or damaged, or words end with a suffix.
    """
    vocabulary = read_json(folder / "vocab.json", dict[str, int])
    if not (folder / MERGES).is_file():
        raise InputError(f"{folder} has a vocab.json, and no {MERGES} beside it; {WAY_OUT}")
    try:
        lines = (folder / MERGES).read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{folder / MERGES} is not UTF-8 at byte {error.start}") from error
    merges = [
        line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")
    ]
    added = added_tokens(folder, settings)
    known = vocabulary | added
    first = {name for name in USUAL if known.get(name, AMONG_FIRST) < AMONG_FIRST}
    special = {*names_of(settings).values(), *added, *first, "<|endoftext|>"}
    ends_words = any(piece.endswith("</w>") for piece in vocabulary)
    spaced = bool(settings.get("add_prefix_space", False))
    level = {
        "type": "ByteLevel",
        "add_prefix_space": spaced,
        "trim_offsets": True,
        "use_regex": True,
    }
    tokens = sorted((known[name], name) for name in special if name in known)
    return {
        "version": "1.0",
        "added_tokens": [added_token(id, name) for id, name in tokens],
        "normalizer": None,
        "pre_tokenizer": level,
        "decoder": level,
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": merges,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>" if ends_words else "",
            "fuse_unk": False,
        },
    }


def pieces_definition(
    folder: Path, name: str, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Returns the tokenizer.json of a sentencepiece model whose ids are not those of the folder.

    Args:
      folder: The folder.
      name: Name of the model's file.
      settings: What `read_settings` returns.

    Returns:
      The definition; None where the ids of the model are all the ids of the folder.

    Raises:
      InputError: How the ids are shifted is not known.
    """
    path, kind = folder / name, str(settings.get("tokenizer_class", ""))
    model = path.read_bytes()
    if name == SHIFTED:
        if not kind.startswith("XLMRoberta"):
            raise InputError(
                f"{path} has shifted ids, and how is only known of XLM-RoBERTa; {WAY_OUT}"
            )
        return _shifted(definition_of(model, str(path)), path)
    own = len(parse_model(model, str(path)).pieces)
    added = {id: token for token, id in added_tokens(folder, settings).items() if id >= own}
    if kind.startswith("T5") and not added:
        count = settings.get("extra_ids", T5_SENTINELS)
        count = count if isinstance(count, int) and 0 <= count <= MOST_IDS else 0
        added = {own + count - 1 - i: f"<extra_id_{i}>" for i in range(count)}
    if not added:
        return None
    if sorted(added) != list(range(own, own + len(added))):
        raise InputError(f"{folder}: the ids of the added tokens have holes; {WAY_OUT}")
    return definition_of(model, str(path), names=[added[id] for id in sorted(added)])


def added_token(id: int, content: str, *, special: bool = True) -> dict[str, Any]:
    """Returns an entry of `added_tokens`: the token `content` with its `id`, `special` or found in texts."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": id, "content": content, **flags, "special": special}


def _shifted(definition: dict[str, Any], path: Path) -> dict[str, Any]:
    """The ids of fairseq: four special tokens, the pieces behind the model's three, and the mask."""
    model = definition["model"]
    pieces = model.get("vocab")
    if not isinstance(pieces, list) or [piece for piece, _ in pieces[:3]] != [
        "<unk>",
        "<s>",
        "</s>",
    ]:
        raise InputError(
            f"{path} is no model of XLM-RoBERTa: it does not begin with <unk>, <s>, </s>"
        )
    first = ("<s>", "<pad>", "</s>", "<unk>")
    vocabulary = [*([name, 0.0] for name in first), *pieces[3:], ["<mask>", 0.0]]
    tokens = [added_token(id, name) for id, name in enumerate(first)]
    tokens.append(added_token(len(vocabulary) - 1, "<mask>"))
    others = [
        token | {"id": token["id"] + 1}
        for token in definition["added_tokens"]
        if token["content"] not in (*first, "<mask>")
    ]
    return definition | {
        "model": model | {"vocab": vocabulary, "unk_id": 3},
        "added_tokens": sorted([*tokens, *others], key=lambda token: token["id"]),
    }


def _content(token: Any) -> str:
    """The text of a token, which is given as a string or as an object with its properties."""
    content = token.get("content") if isinstance(token, dict) else token
    return content if isinstance(content, str) else ""
