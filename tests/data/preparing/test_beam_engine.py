"""With `engine="beam"`: the files of a local run, byte by byte."""

import dataclasses
import hashlib
import sys

import pytest

from jaxssl.data.preparing import beam_engine
from jaxssl.data.preparing.texts import Prepare, prepare
from jaxssl.data.sources.texts import TextFiles
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from tests.data.tiny_corpus import Words, write_text, write_vocabulary

IN_PROCESS = "--runner apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def files_below(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_same_shards_manifest_and_order(tmp_path):
    """Ten shards or so, and a tokenizer that is trained."""
    pytest.importorskip("apache_beam")
    source = TextFiles(write_text(tmp_path / "text.txt"), "blank_line")
    local = Prepare(
        source,
        length=16,
        tokenizer=SentencePiece(300),
        valid=0.2,
        shard_characters=1_000,
        workers=1,
    )
    prepare(local, tmp_path / "local")
    beam = dataclasses.replace(local, engine="beam", beam_options=IN_PROCESS)
    manifest = prepare(beam, tmp_path / "beam")
    assert len(manifest.splits["train"]) > 5
    assert files_below(tmp_path / "beam") == files_below(tmp_path / "local")
    assert prepare(local, tmp_path / "beam") == manifest  # it is there already, whoever made it


def test_what_a_worker_did_not_leave_is_missed(tmp_path, monkeypatch):
    pytest.importorskip("apache_beam")
    monkeypatch.setattr(beam_engine, "_write", print)
    config = Prepare(
        Words(), 16, write_vocabulary(tmp_path), engine="beam", beam_options=IN_PROCESS
    )
    with pytest.raises(InputError, match="the shard of train-00000.* is not in .* all workers"):
        prepare(config, tmp_path / "set")


def test_without_beam(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    config = Prepare(Words(), 16, write_vocabulary(tmp_path), engine="beam")
    with pytest.raises(InputError, match=r"pip install apache-beam,"):
        prepare(config, tmp_path / "set")
    with pytest.raises(InputError, match="beam_options are for engine='beam'"):
        Prepare(Words(), beam_options="--runner FlinkRunner")
