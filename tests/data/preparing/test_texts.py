"""Preparing: every token of every document is there once, whoever writes and whatever is killed."""

import dataclasses
import errno
import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import jaxssl.data.preparing.folder as folder_module
import jaxssl.data.preparing.texts as prepare_module
from jaxssl.data.prepared.manifest import partial_of, read_manifest
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.preparing.units import write_unit
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import Rows, open_rows
from jaxssl.data.sources.texts import Document, JsonLines
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.errors import InputError
from tests.data.tiny_corpus import ENVIRONMENT, Words, write_text, write_vocabulary

QUIET = TextProgress(silent=True)


def config_of(folder, **changes):
    config = Prepare(
        source=Words(),
        length=32,
        tokenizer=write_vocabulary(folder),
        valid=0.2,
        shard_characters=2_000,
        workers=1,
    )
    return dataclasses.replace(config, **changes)


def content(folder):
    """Every file of a prepared set."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_every_token_of_every_document_once(tmp_path):
    config = config_of(tmp_path)
    manifest = prepare(config, tmp_path / "set", QUIET)
    tokenizer = load_tokenizer(config.tokenizer)
    expected = {document.name: document.text for document in Words().documents()}
    found, splits = {}, {}
    for split in ("train", "valid"):
        reader = open_rows(Rows(str(tmp_path / "set"), batch=1), split, seed=0, shuffle=False)
        for row in range(reader.rows):
            pieces = []
            for token in reader.batch(row)["tokens"][0].tolist():
                if token == tokenizer.begin:
                    pieces.append([])
                elif token != tokenizer.pad:
                    pieces[-1].append(token)
            for name, piece in zip(reader.documents([row]), pieces, strict=True):
                splits.setdefault(name, set()).add(split)
                found.setdefault(name, []).extend(piece)
    assert all(len(of_document) == 1 for of_document in splits.values())
    share = manifest.total("valid", "tokens") / sum(
        manifest.total(s, "tokens") for s in manifest.splits
    )
    assert share == pytest.approx(0.2, abs=0.02)
    empty = "words 0#7"
    for name, text in expected.items():
        ids = [*tokenizer.encode([text])[0].tolist(), tokenizer.end]
        assert found.get(name, [tokenizer.end]) == ids
    assert set(expected) - set(found) == {empty}
    total = {
        count: sum(manifest.total(split, count) for split in manifest.splits)
        for count in ("documents", "empty", "tokens", "characters", "bytes")
    }
    assert total == {
        "documents": 60,
        "empty": 1,
        "tokens": sum(len(ids) - 1 for ids in found.values()),
        "characters": sum(len(text) for text in expected.values()),
        "bytes": sum(len(text.encode()) for text in expected.values()),
    }
    assert manifest == read_manifest(tmp_path / "set")
    assert manifest.dtype == "uint16"
    assert not partial_of(tmp_path / "set").exists()


def test_utilisation_is_what_is_not_padding(tmp_path):
    config = config_of(tmp_path, shard_characters=1_000_000)  # tiny shards have more of it
    manifest = prepare(config, tmp_path / "set", QUIET)
    reader = open_rows(Rows(str(tmp_path / "set"), batch=1_000), seed=0, shuffle=False)
    tokens = reader.batch(0)["tokens"][: reader.rows]
    assert manifest.utilisation("train") == pytest.approx((tokens != reader.spec.pad).mean())
    assert manifest.utilisation("train") > 0.95


def test_the_same_bytes_from_any_number_of_workers(tmp_path):
    config = config_of(tmp_path)
    prepare(config, tmp_path / "one", QUIET)
    prepare(dataclasses.replace(config, workers=2), tmp_path / "two", QUIET)
    assert len(read_manifest(tmp_path / "one").splits["train"]) > 3
    assert content(tmp_path / "one") == content(tmp_path / "two")


@pytest.mark.parametrize("survives", [0, 1, 3])
def test_goes_on_where_it_stopped(tmp_path, monkeypatch, survives):
    config = config_of(tmp_path)
    prepare(config, tmp_path / "undisturbed", QUIET)
    written = []

    def stops(units, job, workers):
        for unit in units:
            if len(written) == survives:
                raise KeyboardInterrupt
            written.append(unit.number)
            yield unit, write_unit(unit, job)

    def counts(units, job, workers):
        for unit in units:
            written.append(unit.number)
            yield unit, write_unit(unit, job)

    monkeypatch.setattr(prepare_module, "write_units", stops)
    with pytest.raises(KeyboardInterrupt):
        prepare(config, tmp_path / "set", QUIET)
    with pytest.raises(InputError, match="half-written.*goes on where it stopped"):
        read_manifest(tmp_path / "set")
    if survives:  # a unit whose bytes are not what was noted is written again
        shard = next(partial_of(tmp_path / "set").glob("units/*.array_record"))
        shard.write_bytes(shard.read_bytes()[:-1])
    monkeypatch.setattr(prepare_module, "write_units", counts)
    manifest = prepare(config, tmp_path / "set", QUIET)
    units = sum(len(shards) for shards in manifest.splits.values())
    assert len(written) == units + (1 if survives else 0)
    assert content(tmp_path / "set") == content(tmp_path / "undisturbed")


def test_killed_just_before_the_end(tmp_path, monkeypatch):
    config = config_of(tmp_path)
    prepare(config, tmp_path / "undisturbed", QUIET)
    place = folder_module.put_in_place
    monkeypatch.setattr(folder_module, "put_in_place", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(config, tmp_path / "set", QUIET)
    monkeypatch.setattr(folder_module, "put_in_place", place)
    monkeypatch.setattr(Words, "documents", lambda *_: 1 / 0)  # nothing is read again
    prepare(config, tmp_path / "set", QUIET)
    assert content(tmp_path / "set") == content(tmp_path / "undisturbed")


def test_the_same_again_reads_nothing(tmp_path, monkeypatch):
    config = config_of(tmp_path)
    manifest = prepare(config, tmp_path / "set", QUIET)
    monkeypatch.setattr(Words, "documents", lambda *_: 1 / 0)
    workers = dataclasses.replace(config, workers=3)
    assert prepare(workers, tmp_path / "set", QUIET) == manifest


def test_the_same_folder_with_another_tokenizer(tmp_path):
    """In one process: no tokenizer of an earlier call is kept."""
    prepare(config_of(tmp_path), tmp_path / "set", QUIET)
    shutil.rmtree(tmp_path / "set")
    other = tmp_path / "other.txt"
    other.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ban"]))
    config = config_of(tmp_path, tokenizer=str(other))
    prepare(config, tmp_path / "set", QUIET)
    prepare(config, tmp_path / "fresh", QUIET)
    assert content(tmp_path / "set") == content(tmp_path / "fresh")
    assert open_rows(Rows(str(tmp_path / "set")), seed=0).batch(0)["tokens"].max() <= 5


def test_another_configuration(tmp_path):
    config = config_of(tmp_path)
    prepare(config, tmp_path / "set", QUIET)
    longer = dataclasses.replace(config, length=64)
    with pytest.raises(InputError, match=r"length: 32 -> 64.*choose another folder"):
        prepare(longer, tmp_path / "set", QUIET)


def test_a_folder_with_something_else(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "letters").write_text("dear")
    with pytest.raises(InputError, match="is not a prepared set"):
        prepare(config_of(tmp_path), tmp_path / "set", QUIET)
    (tmp_path / "set" / "letters").unlink()
    prepare(config_of(tmp_path), tmp_path / "set", QUIET)  # an empty one is taken
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made .*; choose another folder"):
        prepare(config_of(tmp_path), tmp_path / "file" / "set", QUIET)


def test_a_source_of_its_own_for_valid(tmp_path):
    config = config_of(tmp_path, valid=Words(5, seed=9), source=Words(6, seed=4))
    manifest = prepare(config, tmp_path / "set", QUIET)
    assert manifest.total("train", "documents") == 6
    assert manifest.total("valid", "documents") == 5
    reader = open_rows(Rows(str(tmp_path / "set")), "valid", seed=0)
    assert all(name.startswith("words 9#") for name in reader.documents([0, 1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": Words(0)}, "no documents in"),
        ({"source": Words(1), "length": 8}, None),  # a section of it is held out
        ({"valid": Words(0)}, "no documents in"),
        ({"source": Words(60, longest=2), "valid": Words(1)}, None),
    ],
)
def test_too_little_text(tmp_path, changes, message):
    config = config_of(tmp_path, **changes)
    if message is None:
        prepare(config, tmp_path / "set", QUIET)
        return
    with pytest.raises(InputError, match=message):
        prepare(config, tmp_path / "set", QUIET)
    assert not partial_of(tmp_path / "set").exists()  # nothing to go on from, nothing left


@pytest.mark.parametrize(
    "wrong",
    [
        *({"length": 7}, {"shard_characters": 0}, {"workers": 0}, {"valid": 1.0}),
        *({"length": 99_999_999_999}, {"workers": 99_999_999_999}, {"lowercase": True}),
    ],
)
def test_values_out_of_bounds(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Prepare(source=Words(), **wrong)


def test_half_a_character(tmp_path):
    """JSON can name a surrogate without its other half, which is no text."""
    lines = [{"text": WORD}, {"text": f"{WORD} \ud800"}, {"text": WORD}]
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    config = config_of(tmp_path, source=JsonLines(str(tmp_path / "text.jsonl")))
    with pytest.raises(InputError, match=r"#2 contains a lone surrogate .*, '\\ud800' at ch"):
        prepare(config, tmp_path / "set", QUIET)


def test_sources_that_change_while_they_are_read(tmp_path, monkeypatch):
    readings = iter([20, 20, 21])
    monkeypatch.setattr(
        Words,
        "documents",
        lambda *_: (Document(f"#{i}", WORD) for i in range(next(readings))),
    )
    with pytest.raises(InputError, match=r"changed while they were read \(20 documents, then 21"):
        prepare(config_of(tmp_path), tmp_path / "set", QUIET)


WORD = "ban"


def test_full_disk(tmp_path, monkeypatch):
    class Full:
        def __init__(self, path, options):
            self.path = path

        def write(self, record):
            raise RuntimeError(f"write() failed: No space left on device; writing {self.path}")

    config = config_of(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("jaxssl.data.preparing.units.ArrayRecordWriter", Full)
        with pytest.raises(OSError, match="array_record") as raised:
            prepare(config, tmp_path / "set", QUIET)
    assert raised.value.errno == errno.ENOSPC
    prepare(config, tmp_path / "set", QUIET)
    open_rows(Rows(str(tmp_path / "set")), seed=0)


def test_a_script_without_a_guard_and_two_at_the_same_time(tmp_path):
    """Workers run nothing of the caller's script, and who comes second waits for the first."""
    text, vocabulary = write_text(tmp_path / "text.txt"), write_vocabulary(tmp_path)
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        from jaxssl.data.preparing.texts import Prepare, prepare
        from jaxssl.data.sources.texts import TextFiles
        source = TextFiles({text!r}, documents_are="blank_line")
        config = Prepare(source, length=32, tokenizer={vocabulary!r}, valid=0.2,
                         shard_characters=2_000, workers=2)
        print(prepare(config, {str(tmp_path / "set")!r}).fingerprint)
        """)
    )
    both = [
        subprocess.Popen(
            [sys.executable, script], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )
        for _ in range(2)
    ]
    printed = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert printed[0] == printed[1] == read_manifest(tmp_path / "set").fingerprint + "\n"
    assert not partial_of(tmp_path / "set").exists()


def test_config_is_noted(tmp_path):
    prepare(config_of(tmp_path), tmp_path / "set", QUIET)
    noted = json.loads((tmp_path / "set" / "manifest.json").read_text())["config"]
    assert noted["source"] == {"kind": "Words", "count": 60, "longest": 80, "seed": 0}
    assert noted["length"] == 32
    assert "workers" not in noted


@pytest.mark.slow
def test_large_vocabularies_take_four_bytes(tmp_path):
    vocabulary = tmp_path / "large.txt"
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *(f"x{i}" for i in range(1 << 16)),
        "ban",
    ]
    vocabulary.write_text("\n".join(words))
    config = config_of(tmp_path, tokenizer=str(vocabulary))
    assert prepare(config, tmp_path / "set", QUIET).dtype == "uint32"
    tokens = open_rows(Rows(str(tmp_path / "set")), seed=0).batch(0)["tokens"]
    assert tokens.dtype == np.int32
    assert tokens.max() == len(words) - 1
