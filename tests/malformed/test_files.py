"""Files of every kind that commands read, mutated: texts, tables, images, tokenizers."""

import gzip
import io
import json
import lzma
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jaxssl.tools.main import main
from tests.malformed.commands import check_all, run_command
from tests.malformed.mutations import of_bytes, of_json

NOTES = "\n\n".join(f"note {number}: the ship left on day {number * 7}." for number in range(60))
LINES = [{"text": f"note {n} of the ship", "label": "ab"[n % 2]} for n in range(40)]


def _jsonl() -> bytes:
    return "\n".join(json.dumps(line) for line in LINES).encode()


def _table(separator: str) -> bytes:
    rows = [f"{line['text']}{separator}{line['label']}" for line in LINES]
    return "\n".join([f"text{separator}label", *rows]).encode()


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(LINES), buffer)
    return buffer.getvalue()


def _image(kind: str) -> bytes:
    buffer = io.BytesIO()
    pixels = np.arange(24 * 24 * 3, dtype=np.uint8).reshape(24, 24, 3)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(4):
            archive.writestr(f"{'ab'[number % 2]}/{number}.png", _image("PNG"))
    return buffer.getvalue()


def _arrays() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.zeros((8, 16, 16, 3), np.uint8), labels=np.arange(8) % 2)
    return buffer.getvalue()


TEXTS = {
    "notes.txt": NOTES.encode(),
    "notes.txt.gz": gzip.compress(NOTES.encode(), mtime=0),
    "notes.txt.xz": lzma.compress(NOTES.encode()),
    "notes.jsonl": _jsonl(),
    "notes.parquet": _parquet(),
}
IMAGES = {
    "pictures/a/one.jpg": _image("JPEG"),
    "pictures/a/one.png": _image("PNG"),
    "pictures.zip": _zip(),
    "pictures.npz": _arrays(),
}
TABLES = {
    "table.csv": _table(","),
    "table.tsv": _table("\t"),
    "table.jsonl": _jsonl(),
    "table.parquet": _parquet(),
}


def _run_variants(scratch, capfd, name, data, count, words):
    endings = {}
    file = scratch / name
    file.parent.mkdir(parents=True, exist_ok=True)
    for number, (kind, variant) in enumerate(of_bytes(data, count)):
        file.write_bytes(variant)
        endings[f"{name}, {kind}"] = run_command(words(number), scratch, capfd)
    check_all(endings)


@pytest.mark.parametrize("name", TEXTS)
def test_texts(scratch, word_rows, capfd, name):
    tokenizer = str(word_rows / "tokenizer")
    rest = [
        "--documents",
        "blank_line",
        "--tokenizer",
        tokenizer,
        "--length",
        "16",
        "--valid",
        "0.2",
        "--workers",
        "1",
    ]
    _run_variants(
        scratch, capfd, name, TEXTS[name], 16, lambda n: ["prepare", name, "--into", f"p{n}", *rest]
    )


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("on_broken", ["stop", "skip"])
def test_images(scratch, capfd, name, on_broken):
    source = name.split("/")[0]
    (scratch / "pictures/b").mkdir(parents=True)
    for number in range(3):
        (scratch / f"pictures/b/{number}.png").write_bytes(_image("PNG"))
    rest = ["--size", "16", "--on-broken", on_broken, "--workers", "1"]
    _run_variants(
        scratch,
        capfd,
        name,
        IMAGES[name],
        14,
        lambda n: ["prepare", source, "--into", f"p{n}", *rest],
    )


@pytest.mark.parametrize("name", TABLES)
def test_labelled_tables(scratch, masked_run, capfd, name, monkeypatch):
    monkeypatch.setattr("jaxssl.finetuning.setup.Setup.of", _accepted)
    rest = ["--task.checkpoint", str(masked_run), "--data.train", name, "--data.dev", "0.2"]
    _run_variants(
        scratch,
        capfd,
        name,
        TABLES[name],
        18,
        lambda n: ["finetune", "finetune_quickstart", "--run", f"f{n}", *rest],
    )


def _accepted(*_, **__):
    raise SystemExit(0)


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory):
    """The bytes of a small sentencepiece model."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "notes.txt").write_text(NOTES, encoding="utf-8")
    main(
        [
            "prepare",
            str(folder / "notes.txt"),
            "--documents",
            "blank_line",
            "--into",
            str(folder / "set"),
            "--vocab-size",
            "290",
            "--length",
            "16",
            "--workers",
            "1",
        ]
    )
    return (folder / "set/tokenizer/tokenizer.model").read_bytes()


@pytest.mark.parametrize("kind", ["tokenizer.json", "vocab.txt", "tokenizer.model"])
def test_tokenizers(scratch, sentencepiece_model, capfd, kind):
    (scratch / "notes.txt").write_text(NOTES, encoding="utf-8")
    rest = [
        "--documents",
        "blank_line",
        "--length",
        "16",
        "--valid",
        "0.2",
        "--workers",
        "1",
        "--tokenizer",
        kind,
    ]
    if kind == "tokenizer.json":
        text = json.dumps(_word_pieces())
        variants = ((name, changed.encode()) for name, changed in of_json(text, 40))
    else:
        is_model = kind == "tokenizer.model"
        variants = of_bytes(sentencepiece_model if is_model else _vocabulary().encode(), 24)
    endings = {}
    for number, (name, variant) in enumerate(variants):
        (scratch / kind).write_bytes(variant)
        words = ["prepare", "notes.txt", "--into", f"p{number}", *rest]
        endings[f"{kind}, {name}"] = run_command(words, scratch, capfd)
    check_all(endings)


def _vocabulary() -> str:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    return "\n".join([*pieces, *(f"##{letter}" for letter in "aeinorst"), "note", "ship", "the"])


def _word_pieces() -> dict:
    pieces = _vocabulary().split("\n")
    added = [
        {
            "id": number,
            "content": pieces[number],
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number in range(5)
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: number for number, piece in enumerate(pieces)},
        },
    }
