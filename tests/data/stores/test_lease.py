"""The lease of a folder on an object store: one machine at a time; a machine that is gone is followed."""

import dataclasses
import time

import fsspec
import pytest

from jaxssl.data.stores import lease as module
from jaxssl.data.stores.lease import LEASE, Sign, leased
from jaxssl.data.stores.locks import Holder, Locked
from jaxssl.data.stores.store import Store

ELSEWHERE = Holder(host="elsewhere", process=7, since="then", machine="another")


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr("jaxssl.data.stores.store.PAUSE", 0.001)
    monkeypatch.setattr(module, "BEAT", 0.02)
    monkeypatch.setattr(module, "LOOK", 0.01)
    monkeypatch.setattr(module, "EXPIRES", 0.2)
    yield Store("memory://leased/folder")
    fsspec.filesystem("memory").store.clear()


def write(store, **changes):
    store.write_json(
        LEASE, dataclasses.asdict(Sign(**{"holder": ELSEWHERE, "owner": "x", **changes}))
    )


def test_signs_of_life_are_given_until_the_end(store):
    with leased(store):
        first = store.read_json(LEASE, Sign)
        assert first.holder.is_dead is False
        end = time.monotonic() + 10
        while store.read_json(LEASE, Sign).beat == first.beat:
            assert time.monotonic() < end
    assert not store.exists(LEASE)


def test_a_second_machine_is_refused_by_name(store):
    with (
        leased(store),
        pytest.raises(Locked, match="leased/folder is being written by process") as told,
        leased(store),
    ):
        pass
    assert told.value.holder.process == Holder.here().process
    assert not store.exists(LEASE)


def test_a_machine_without_a_sign_of_life_is_followed(store, capfd):
    write(store)
    with leased(store):
        assert store.read_json(LEASE, Sign).holder.host != "elsewhere"
    assert "was being written by process 7 on elsewhere, since then" in capfd.readouterr().err


def test_a_process_of_this_machine_that_has_ended_is_followed_at_once(store, monkeypatch):
    monkeypatch.setattr(module, "EXPIRES", 100.0)
    write(store, holder=dataclasses.replace(Holder.here(), process=2**22 + 1))
    with leased(store):
        pass


@pytest.mark.parametrize("content", [[], {}, {"beat": -1}, {"holder": 5}, "x"])
def test_a_lease_that_nobody_understands_is_replaced(store, content):
    store.write_json(LEASE, content)
    with leased(store):
        assert store.read_json(LEASE, Sign).owner


def test_a_lease_that_this_process_could_not_release_is_taken_at_once(store, monkeypatch):
    """The store had failed at the end of a run."""
    monkeypatch.setattr(module, "EXPIRES", 100.0)
    monkeypatch.setattr(module.Lease, "release", lambda self: None)
    with leased(store):
        first = store.read_json(LEASE, Sign)
    with leased(store):
        assert store.read_json(LEASE, Sign).owner != first.owner
