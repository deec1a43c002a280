"""A small Hugging Face folder, and two hundred malformed variants of it; every one must be refused."""

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxssl.interop.huggingface.folder_writing import export_of, write_network
from jaxssl.models.transformer_config import TransformerConfig
from jaxssl.objectives import MaskedLM
from tests.tiny import tiny_spec

TENSORS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"
SPEC = tiny_spec(length=16, vocab_size=30)
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{n}" for n in range(25))]
Change = Callable[[Path], None]

BAD_OFFSETS: list[Any] = [
    *([0, 0], [8, 0], [-8, 0], [0, 2**63], [2**63, 2**63 + 4], [0, 1e3], ["0", "4"], [0], []),
    *([0, 4, 8], None, "0:4", {"begin": 0}, [True, False], [[0], [4]], [0, 2**70]),
]
BAD_SHAPES: list[Any] = [
    *([-1, -1], [-30, -8], [2**31, 2**31], [2**62], [30.0, 8.0], ["30", "8"], [[30], [8]]),
    *([8, 30], None, "30x8", {"rows": 30}, [True, 240], [1] * 60, [30], [], [8, 31], [0], [2**70]),
]
BAD_DTYPES: list[Any] = ["F128", "f32", "F64", "F16", "I32", "BOOL", "", None, 4, ["F32"], "../F32"]
BAD_SIZES: list[Any] = [-1, 0, 2**31, 2**40, 2**70, "8", 8.5, None, [], {}, True, "../8"]
SIZES = (
    *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("vocab_size", "max_position_embeddings"),
)
BAD_CONFIG: dict[str, list[Any]] = {
    "model_type": ["../bert", "nonsense", "", None, 3, ["bert"], "os", "bert\0"],
    "architectures": ["BertModel", ["BertModel", "BertForMaskedLM"], [3], [None], {"a": 1}],
    "hidden_act": ["relu6", "__import__('os')", None, 3, "../gelu"],
    "position_embedding_type": ["relative_key", 3],
    "is_decoder": [True, "yes"],
    "hidden_dropout_prob": [-0.1, 1.5, "0.1", None, 1e308],
    "layer_norm_eps": [-1, "1e-12", None],
    "tie_word_embeddings": ["yes", 2],
}
NO_JSON = {
    "is empty": b"",
    "is half of an object": b'{"a": [1, ',
    "is no UTF-8": b'{"a": "\xff\xfe"}',
    "is nested deeply": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "is nested in lists": b"[" * 100_000,
    "holds NaN": b'{"a": NaN}',
    "holds Infinity": b'{"a": -Infinity}',
    "holds a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "is a list": b"[1, 2]",
    "is a text": b'"config"',
    "is null": b"null",
    "holds half of a surrogate pair": b'{"a": "\\ud800"}',
}


def write_whole(folder: Path) -> Path:
    """A BERT of two layers with a vocabulary, whose numbers are all zero."""
    objective = MaskedLM(TransformerConfig(depth=2, width=8, heads=2, mlp=16, max_length=16))
    shapes = jax.eval_shape(lambda key: objective.init(key, SPEC), jax.random.key(0))
    model = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    folder.mkdir(parents=True)
    write_network(folder, export_of(objective, SPEC), model, ())
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return folder


def variants(outside: Path) -> Iterator[tuple[str, Change]]:
    """Yields the name of each variant, and what makes it of a copy of the whole folder.

    `outside` is a folder with files that no variant may be read from.
    """
    yield from _of_the_length()
    yield from _of_tensors()
    yield from _of_the_index(outside)
    yield from _of_the_config()
    yield from _of_other_files(outside)


def _of_the_length() -> Iterator[tuple[str, Change]]:
    """The length of the header, and of the file."""
    for length in (0, 1, 2**16, 2**25 + 1, 2**31, 2**63, 2**64 - 1):
        yield (
            f"a header of {length} bytes",
            _bytes(lambda b, n=length: n.to_bytes(8, "little") + b[8:]),
        )
    for stop in (0, 1, 7, 8, 9, 100, -1, -8, -1000):
        yield f"cut at {stop}", _bytes(lambda b, n=stop: b[:n])
    for more in (1, 8, 4096):
        yield f"{more} bytes too many", _bytes(lambda b, n=more: b + b"\0" * n)
    for name, text in NO_JSON.items():
        yield f"the header {name}", _bytes(lambda b, t=text: len(t).to_bytes(8, "little") + t)


def _of_tensors() -> Iterator[tuple[str, Change]]:
    """The entries of the header."""
    word, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
    for field, values in (
        ("data_offsets", BAD_OFFSETS),
        ("shape", BAD_SHAPES),
        ("dtype", BAD_DTYPES),
    ):
        for value in values:
            yield f"{field} {value}"[:60], _entry(word, {field: value})
    yield "two tensors at one place", _entry(bias, {"data_offsets": [0, 120]})
    yield "an entry without a shape", _entry(word, {"shape": ...})
    yield "an entry that is a list", _header(lambda header: header.update({word: [1]}))
    yield (
        "an entry too many",
        _header(lambda h: h.update(more={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]})),
    )
    yield "a long name", _header(lambda header: header.update({"a" * 5000: header.pop(bias)}))
    yield "a field too many", _entry(word, {"location": "/etc/passwd"})
    layer = "bert.encoder.layer.1.output.dense.weight"
    yield "a layer that lacks a tensor", _header(lambda h: h.update(unknown=h.pop(layer)))


def _of_the_index(outside: Path) -> Iterator[tuple[str, Change]]:
    """The index of several files."""
    names: list[Any] = [
        *("../secret.safetensors", str(outside / "secret.safetensors"), "/etc/passwd", ""),
        *("a/b.safetensors", "..", ".", "a\0b", "missing.safetensors", "config.json"),
        *(3, None, ["model.safetensors"], {"file": "model.safetensors"}, "~/a", "C:\\a"),
    ]
    for name in names:
        yield f"the index names {name!r}"[:60], _index({"weight_map": {"a": name}})
    yield "the index names no tensor", _index({"weight_map": {}})
    yield "the index has no map", _index({"metadata": {}})
    yield "the index is a map of lists", _index({"weight_map": [["a", "moved.safetensors"]]})
    yield "the index names an unknown tensor", _index({"weight_map": {"a": "moved.safetensors"}})
    for name, text in NO_JSON.items():
        yield f"the index {name}", _index(text)

    def link(folder: Path) -> None:
        _index({"weight_map": {"a": "link.safetensors"}})(folder)
        (folder / "link.safetensors").symlink_to(outside / "secret.safetensors")

    yield "the index names a link to outside", link


def _of_the_config() -> Iterator[tuple[str, Change]]:
    """The fields of config.json."""
    for field in SIZES:
        for value in BAD_SIZES:
            yield f"{field}={value!r}", _config({field: value})
    for field, values in BAD_CONFIG.items():
        for value in values:
            yield f"{field}={value!r}", _config({field: value})
    for name, text in NO_JSON.items():
        yield f"config.json {name}", _file(CONFIG, text)
    for sizes in ({"hidden_size": 2**23}, {"vocab_size": 2**23}, {"num_hidden_layers": 9999}):
        yield f"config.json says {sizes}", _config(sizes)
    yield "config.json says other sizes", _config({"hidden_size": 16, "intermediate_size": 8})


def _of_other_files(outside: Path) -> Iterator[tuple[str, Change]]:
    """Files that are missing, that can run code, that lead elsewhere, that never end."""
    for name in (CONFIG, TENSORS):
        yield f"{name} is missing", lambda folder, name=name: (folder / name).unlink()
        yield f"{name} is a folder", _remade(name, lambda path: path.mkdir())
        yield f"{name} is a pipe", _remade(name, os.mkfifo)
        yield f"{name} is endless", _remade(name, lambda path: path.symlink_to("/dev/zero"))
        yield f"{name} is a link to itself", _remade(name, lambda path: path.symlink_to(path))
    secrets = {CONFIG: "secret.json", TENSORS: "secret.safetensors", "vocab.txt": "secret.txt"}
    for name, secret in secrets.items():
        target = outside / secret
        yield f"{name} is a link to outside", _remade(name, lambda p, t=target: p.symlink_to(t))
    for pickled in ("pytorch_model.bin", "model.pt", "model.ckpt", "model.pkl"):

        def rename(folder: Path, name: str = pickled) -> None:
            (folder / TENSORS).rename(folder / name)

        yield f"weights in {pickled}", rename
    more = "\n".join([*WORDS, *(f"more{n}" for n in range(100))])
    yield "more words than rows of the table", _file("vocab.txt", more.encode())
    yield "a vocabulary that is no UTF-8", _file("vocab.txt", b"[PAD]\n\xff\xfe\n")
    for name, text in NO_JSON.items():
        yield f"tokenizer.json {name}", _file("tokenizer.json", text)
    yield "a sentencepiece model of other bytes", _file("tokenizer.model", b"\x80\x04" * 40)


def _bytes(change: Callable[[bytes], bytes]) -> Change:
    def apply(folder: Path) -> None:
        (folder / TENSORS).write_bytes(change((folder / TENSORS).read_bytes()))

    return apply


def _header(change: Callable[[dict[str, Any]], Any]) -> Change:
    def changed(content: bytes) -> bytes:
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        change(header)
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + content[end:]

    return _bytes(changed)


def _entry(name: str, values: dict[str, Any]) -> Change:
    def change(header: dict[str, Any]) -> None:
        entry = copy.deepcopy(header[name]) | values
        header[name] = {field: value for field, value in entry.items() if value is not ...}

    return _header(change)


def _index(content: Any) -> Change:
    def apply(folder: Path) -> None:
        (folder / TENSORS).rename(folder / "moved.safetensors")
        text = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / INDEX).write_bytes(text)

    return apply


def _config(values: dict[str, Any]) -> Change:
    def apply(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text()) | values
        (folder / CONFIG).write_text(json.dumps(config))

    return apply


def _file(name: str, content: bytes) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(content)

    return apply


def _remade(name: str, make: Callable[[Path], Any]) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return apply
