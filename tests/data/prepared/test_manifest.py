"""Prepared sets that are not whole: each gets one line that names the file and the way out."""

import json
import shutil

import pytest

from jaxssl.data.prepared.manifest import partial_of, read_manifest
from jaxssl.data.prepared.summaries import summary_of_rows
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.progress import TextProgress
from jaxssl.data.rows import Rows, open_rows
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_vocabulary

QUIET = TextProgress(silent=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    config = Prepare(
        Words(), 32, write_vocabulary(folder), valid=0.2, shard_characters=3_000, workers=1
    )
    prepare(config, folder / "set", QUIET)
    return folder / "set"


@pytest.fixture
def folder(whole, tmp_path):
    """A copy to damage."""
    return shutil.copytree(whole, tmp_path / "set")


def opened(folder, **options):
    return open_rows(Rows(str(folder)), seed=0, **options)


def change(folder, **fields):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_whole(folder):
    opened(folder).batch(0)


def test_not_there(tmp_path):
    with pytest.raises(InputError, match="does not exist; make it with: jaxssl prepare"):
        read_manifest(tmp_path / "set")


def test_half_written(folder):
    folder.rename(partial_of(folder))
    with pytest.raises(InputError, match=r"half-written \(set\.partial is there\); run the same"):
        opened(folder)


def test_something_else(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', "\x00\x01"])
def test_manifest_that_is_none(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json"):
        opened(folder)


def test_manifest_of_another_version(folder):
    change(folder, format=99)
    with pytest.raises(InputError, match="format 99 and this version reads 1"):
        opened(folder)


def test_manifest_that_is_not_whole(folder):
    change(folder, colour="blue")
    with pytest.raises(InputError, match=r"not whole .*colour"):
        opened(folder)


@pytest.mark.parametrize("kind", ["array_record", "npz"])
def test_corrupt_shard_is_named(folder, kind):
    path = sorted(folder.glob(f"train-*.{kind}"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{path.name} is corrupt.*restore it or prepare"):
        opened(folder)
    open_rows(Rows(str(folder)), "valid", seed=0)  # the other split is whole
    opened(folder, verify=False)


def test_missing_shard_is_named(folder):
    path = sorted(folder.glob("train-*.array_record"))[-1]
    path.unlink()
    with pytest.raises(InputError, match=f"{path.name} is missing"):
        opened(folder)


def test_cut_shard_is_named_where_it_was_not_verified(folder):
    for path in folder.glob("train-*.array_record"):
        path.write_bytes(path.read_bytes()[:-40])
    reader = opened(folder, verify=False)
    with pytest.raises(InputError, match=r"train-.*array_record cannot be read"):
        reader.batch(0)


def test_tokenizer_that_does_not_match(folder, tmp_path):
    shutil.rmtree(folder / "tokenizer")
    other = tmp_path / "vocab.txt"
    other.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ban"]))
    config = Prepare(Words(), 32, str(other), valid=0.2, workers=1)
    prepare(config, tmp_path / "other", QUIET)
    shutil.copytree(tmp_path / "other" / "tokenizer", folder / "tokenizer")
    with pytest.raises(InputError, match="is not the one that its rows were made with"):
        opened(folder)


def test_fingerprint_is_of_the_content_alone(folder):
    before = read_manifest(folder).fingerprint
    change(folder, config={"source": "elsewhere"})
    assert read_manifest(folder).fingerprint == before
    change(folder, pad=9)
    assert read_manifest(folder).fingerprint != before


def test_summary(folder):
    lines = summary_of_rows(read_manifest(folder), folder).splitlines()
    assert lines[0].startswith(f"{folder}: rows of 32 tokens")
    assert [line.split()[0] for line in lines[1:3]] == ["train", "valid"]
    assert "105 ids" in lines[3]
