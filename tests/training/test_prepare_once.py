"""Rows of a recipe on several hosts: the first one prepares them, the others wait."""

import dataclasses
import queue
import threading

import pytest

from jaxssl.data.prepared.manifest import read_manifest
from jaxssl.data.preparing.texts import Prepare
from jaxssl.data.rows import Rows
from jaxssl.errors import InputError
from jaxssl.models import bert
from jaxssl.objectives import MaskedLM
from jaxssl.runs.hosts import Hosts
from jaxssl.training import prepare_once as module
from jaxssl.training.config import Pretraining
from tests.data.tiny_corpus import Words, write_vocabulary


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PAUSE", 0.01)
    how = Prepare(Words(), length=16, tokenizer=write_vocabulary(tmp_path), workers=1)
    rows = Rows(str(tmp_path / "rows"), prepare=how)
    return Pretraining(rows, objective=MaskedLM(bert(1, 8, 1)), run=str(tmp_path / "run"))


def test_the_first_host_prepares_and_the_second_waits(config, monkeypatch):
    prepared, told = [], queue.Queue()
    # Captured output would lose lines of a thread.
    monkeypatch.setattr(module, "print", lambda line, flush: told.put(line), raising=False)
    into = Prepare.into
    monkeypatch.setattr(Prepare, "into", lambda *a: prepared.append(a) or into(*a))
    second = threading.Thread(
        target=module.prepare_once, args=(config,), kwargs={"host": 1, "hosts": 2}
    )
    second.start()
    assert told.get(timeout=60) == f"host 1 waits for host 0 to prepare {config.data.path}"
    module.prepare_once(config, host=0, hosts=2)
    second.join(60)
    assert not second.is_alive()
    assert len(prepared) == 1
    assert read_manifest(config.data.path).length == 16
    module.prepare_once(config, host=1, hosts=2)  # there already: says nothing
    assert told.empty()


def test_the_others_wait_no_longer_than_they_may(config):
    config = dataclasses.replace(config, hosts=Hosts(prepare_within=0.05))
    with pytest.raises(InputError, match=r"host 1 has waited for 0.05 s, .* hosts.prepare_within"):
        module.prepare_once(config, host=1, hosts=2)


def test_one_host_alone_leaves_it_to_the_rows(config):
    module.prepare_once(config, host=0, hosts=1)
    with pytest.raises(InputError, match="does not exist"):
        read_manifest(config.data.path)


def test_a_run_that_goes_on_prepares_nothing(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").touch()
    for hosts in (1, 2):
        with pytest.raises(
            InputError, match="rows of .*run, is missing, .* set run to a new folder"
        ):
            module.prepare_once(config, host=0, hosts=hosts)
    assert not list(tmp_path.glob("rows*"))
    other = dataclasses.replace(config, run=str(tmp_path / "new"))
    module.prepare_once(other, host=0, hosts=2)  # as the message says
    module.prepare_once(config, host=0, hosts=2)
