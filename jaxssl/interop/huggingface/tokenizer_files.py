"""Writes a tokenizer of this library as the files of a Hugging Face folder.

    export_tokenizer(tokenizer, folder, model_max_length=512)      # tokenizer.json, tokenizer_config.json, …
    AutoTokenizer.from_pretrained(folder)                          # in transformers: the same ids

Before a file is written, the exported tokenizer encodes hard strings and sample texts, and its ids are
compared with those of the tokenizer itself.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers

from jaxssl.data.stores.json_files import json_text, write_json
from jaxssl.data.tokenizers.hugging_face_files import added_token
from jaxssl.data.tokenizers.hugging_face_tokenizer import HuggingFaceTokenizer
from jaxssl.data.tokenizers.sentencepiece_definition import definition_of, differing_texts
from jaxssl.data.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError, brief

# Strings on which implementations of a tokenizer differ, if they differ anywhere
HARD = (
    "The cat sat on the mat. DON'T STOP!  Two  spaces,\ttabs\r\nand\n\n\nlines \n ",
    " leading and trailing ",
    "Größe naïve e\u0301 a\u0327\u0301 \u1e9b\u0323 \ufb01 \u2460 \u33c4 \u00bd \u0130 \u1e9e",
    "\u0345 \u03b1\u0314\u0345",
    "中文，我們。\u3000全角ＡＢＣ １２３ ｶﾞｷﾞﾊﾟ 한국어 \u1112\u1161\u11ab \u1100\u1161",
    "שָׁלוֹם עֲלֵיכֶם مُحَمَّدٌ السَّلَامُ \u200fabc\u202e \u0600١٢٣",
    "\U0001f600\U0001f469\u200d\U0001f4bb\U0001f1e9\U0001f1ea\u2764\ufe0f\U0001f44d\U0001f3fd",
    "\x00\x01\x08\x0b\x0c\x1f\x7f\x80\x85\xa0\xad\u034f\u200b\u2028\u2029\ufeff\ufffd",
    "\u0378\u2065\ufff0\ufff1\ufff3\ufff4\ufff6\ue000\U000e0001\U0010ffff\U000effff",
    "<s></s><pad><unk><mask>[CLS][SEP][PAD][UNK][MASK]<|endoftext|><0x41>\u2581\u2581 \u2581a##b Ġa",
    "\u0301\u0327 \u0301", "\u2581", " ", "\n", "\n\n", "\t", "", "\x01", "a\n", "\na", "  a  b  ",
)  # fmt: skip


@dataclass(frozen=True)
class TokenizerProof:
    """How the exported tokenizer was compared with the tokenizer itself."""

    texts: int
    """Number of texts that both have encoded."""
    equal: int
    """Number of texts with the same ids."""
    ties: tuple[str, ...] = ()
    """Texts whose ids are two segmentations of the same probability, which float32 and float64 round to
    different sides (unigram models)."""


def export_tokenizer(
    tokenizer: Tokenizer,
    folder: str | Path,
    *,
    model_max_length: int,
    template: Literal["begin and end", "begin", "none"] = "begin and end",
    pairs: bool = True,
    size: int | None = None,
    texts: Sequence[str] = (),
) -> TokenizerProof:
    """Writes tokenizer.json, tokenizer_config.json, special_tokens_map.json and the vocabulary's own files.

    Args:
      tokenizer: The tokenizer.
      folder: The folder, which is created if missing.
      model_max_length: Tokens that the network can read at once.
      template: What a text is encoded with: the special tokens around it that the network was trained with.
      pairs: Whether a second text has the type 1, as in BERT.
      size: Rows of the network's table; special tokens with ids behind it are left out. None writes all.
      texts: Sample texts, which are compared beside the hard strings.

    Returns:
      What was compared.

    Raises:
      InputError: The tokenizer does something that a tokenizer.json cannot express, or would give other ids
        for a text; nothing is written then.
    """
    folder = Path(folder)
    rows = tokenizer.vocab_size if size is None else size
    definition = exported_definition(tokenizer, rows)
    proof = compare(tokenizer, definition, (*HARD, *texts))
    names = _names(tokenizer, definition, rows)
    definition["post_processor"] = _post_processor(tokenizer, names, template, pairs, rows)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json_text(definition), encoding="utf-8")
    keys = {"pad": "pad_token", "unknown": "unk_token", "begin": "cls_token", "end": "sep_token",
            "mask": "mask_token"}  # fmt: skip
    specials = {keys[role]: name for role, name in names.items()}
    twins = {"cls_token": "bos_token", "sep_token": "eos_token"}
    specials |= {twins[key]: name for key, name in specials.items() if key in twins}
    write_json(folder / "special_tokens_map.json", specials)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model_max_length,
        "clean_up_tokenization_spaces": False,
        "model_input_names": [
            "input_ids",
            *(["token_type_ids"] if pairs else []),
            "attention_mask",
        ],
        **specials,
    }
    write_json(folder / "tokenizer_config.json", config)
    _write_vocabulary(tokenizer, definition, folder)
    return proof


def exported_definition(tokenizer: Tokenizer, rows: int) -> dict[str, Any]:
    """Returns the content of the tokenizer.json of a tokenizer, without a template.

    Args:
      tokenizer: The tokenizer.
      rows: Special tokens with ids from here on are left out.

    Raises:
      InputError: A tokenizer.json cannot express what the tokenizer does.
    """
    if isinstance(tokenizer, SentencePieceTokenizer):
        definition = definition_of(tokenizer.model, "the tokenizer")
    elif isinstance(tokenizer, HuggingFaceTokenizer):
        definition = json.loads(tokenizer.definition)
    else:
        kind = type(tokenizer).__name__
        raise InputError(f"a tokenizer of class {kind} cannot be written as a tokenizer.json")
    added = list(definition.get("added_tokens") or ())
    added += [
        added_token(id, tokenizer.piece(id))
        for id in range(tokenizer.own_size, min(tokenizer.vocab_size, rows))
    ]
    return definition | {"added_tokens": added}


def compare(
    tokenizer: Tokenizer, definition: dict[str, Any], texts: Sequence[str]
) -> TokenizerProof:
    """Compares the ids of texts by a tokenizer and by a tokenizer.json, the names of special tokens as text.

    Args:
      tokenizer: The tokenizer.
      definition: Content of the tokenizer.json.
      texts: The texts.

    Raises:
      InputError: The ids of a text differ, and not only in a tie.
    """
    built = HuggingFaceTokenizer(json_text(definition), "the exported tokenizer")
    wanted, found = tokenizer.encode(texts), built.encode(texts)
    if isinstance(tokenizer, SentencePieceTokenizer):
        others, ties = differing_texts(tokenizer.model, texts, wanted, found)
    else:
        pairs = zip(wanted, found, strict=True)
        others = [i for i, (one, two) in enumerate(pairs) if not np.array_equal(one, two)]
        ties = []
    if others:
        first = others[0]
        raise InputError(
            f"the exported tokenizer would give {len(found[first])} ids for {brief(texts[first])}, the "
            f"tokenizer gives {len(wanted[first])}, and they differ, as for {len(others)} of {len(texts)} "
            "texts; nothing was written: use the tokenizer itself"
        )
    return TokenizerProof(len(texts), len(texts) - len(ties), tuple(texts[i] for i in ties))


def _names(tokenizer: Tokenizer, definition: dict[str, Any], rows: int) -> dict[str, str]:
    """The special token of each role that has a row, or that stands for one that has."""
    found = tokenizers.Tokenizer.from_str(json_text(definition))
    names = {}
    for role in ("pad", "unknown", "begin", "end", "mask"):
        id = _row(tokenizer, role, rows)
        if id >= 0 and (name := found.id_to_token(id)) is not None:
            names[role] = name
    return names


def _post_processor(
    tokenizer: Tokenizer, names: dict[str, str], template: str, pairs: bool, rows: int
) -> dict[str, Any] | None:
    """What puts the special tokens around a text, and between the texts of a pair."""
    roles = {"begin and end": ("begin", "end"), "begin": ("begin",), "none": ()}
    if template not in roles:
        raise InputError(f"template={template!r} is unknown; use {', '.join(roles)}")
    wanted = [role for role in roles[template] if role in names]
    if not wanted:
        return None

    def special(role: str, kind: int) -> list[dict[str, Any]]:
        return [{"SpecialToken": {"id": names[role], "type_id": kind}}] if role in wanted else []

    def text(name: str, kind: int) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": kind}}

    single = [*special("begin", 0), text("A", 0), *special("end", 0)]
    second = int(pairs)
    known = {
        names[role]: {
            "id": names[role],
            "ids": [_row(tokenizer, role, rows)],
            "tokens": [names[role]],
        }
        for role in wanted
    }
    return {
        "type": "TemplateProcessing",
        "single": single,
        "pair": [*single, text("B", second), *special("end", second)],
        "special_tokens": known,
    }


def _row(tokenizer: Tokenizer, role: str, rows: int) -> int:
    """The id of a role, or that of the token that it stands for if it has no row; -1 for none."""
    id = int(getattr(tokenizer, role))
    return id if id < rows else int(tokenizer.stands_for.get(id, -1))


def _write_vocabulary(tokenizer: Tokenizer, definition: dict[str, Any], folder: Path) -> None:
    """Writes the files from which others build the tokenizer without tokenizer.json."""
    if isinstance(tokenizer, SentencePieceTokenizer):
        (folder / "spiece.model").write_bytes(tokenizer.model)
        return
    model = definition["model"]
    if model["type"] == "WordPiece":
        ids = model["vocab"]
        pieces = sorted(ids, key=lambda piece: ids[piece])
        if [ids[piece] for piece in pieces] == list(range(len(pieces))):
            (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    elif (
        model["type"] == "BPE"
        and (definition.get("pre_tokenizer") or {}).get("type") == "ByteLevel"
    ):
        (folder / "vocab.json").write_text(json_text(model["vocab"]), encoding="utf-8")
        merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
        lines = "\n".join(["#version: 0.2", *merges])
        (folder / "merges.txt").write_text(lines + "\n", encoding="utf-8")
