"""JAX made strict, and what many tests share: a tiny vocabulary and rows in it."""

import atexit
import os
import shutil
import tempfile

from tests.quick_programs import xla_flags

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", xla_flags(8))
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Programs that several tests compile, and those that they start, are compiled once.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="jaxssl-compiled-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def s3():
    """A local S3 server, for all tests of a process; its `faults` are to be planned."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    from tests.s3_server import S3Server

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        with S3Server() as server:
            patch.setenv("AWS_ENDPOINT_URL", server.address)
            yield server


@pytest.fixture
def bucket(s3, tmp_path, monkeypatch):
    """A bucket of a test's own, no faults, short pauses, and a cache folder of its own."""
    monkeypatch.setenv("JAXSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("jaxssl.data.stores.store.PAUSE", 0.001)
    s3.faults.clear()
    yield s3.new_bucket()
    s3.faults.clear()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
