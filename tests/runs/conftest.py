"""A run on fsspec's memory://, whose local folder is in a cache of the test's own."""

import fsspec
import pytest


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxssl.data.stores.store.PAUSE", 0.001)
    yield "memory://bucket/runs/x"
    fsspec.filesystem("memory").store.clear()
