"""The profiler traces the steps that are named, ends with the loop, and says how its trace is opened."""

import jax
import jax.numpy as jnp
import pytest

from jaxssl.errors import InputError
from jaxssl.training.profiling import Profile, steps_of


@pytest.fixture
def calls(monkeypatch):
    found = []

    def start(folder, create_perfetto_trace):
        found.append(("start", folder.name, create_perfetto_trace))

    monkeypatch.setattr(jax.profiler, "start_trace", start)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: found.append(("stop",)))
    return found


def trace(steps, folder, calls, of=range(6)):
    with Profile(steps, folder) as profile:
        for step in of:
            profile.at(step, jnp.ones(()))
            calls.append(step)


@pytest.mark.parametrize(
    ("steps", "of", "expected"),
    [
        ("2:4", range(6), [0, 1, "start", 2, 3, "stop", 4, 5]),
        ("4:9", range(6), [0, 1, 2, 3, "start", 4, 5, "stop"]),
        ("0:2", range(3, 6), [3, 4, 5]),  # a resumed run is beyond them
        ("1:4", range(3, 6), ["start", 3, "stop", 4, 5]),
        ("", range(2), [0, 1]),
    ],
)
def test_the_named_steps_are_traced(steps, of, expected, tmp_path, calls, capsys):
    trace(steps, tmp_path, calls, of)
    assert [call[0] if isinstance(call, tuple) else call for call in calls] == expected
    shown = capsys.readouterr().out
    assert ("ui.perfetto.dev" in shown) == ("stop" in expected)


def test_an_error_ends_the_trace(tmp_path, calls, monkeypatch):
    def stopped(step):
        raise KeyboardInterrupt

    monkeypatch.setattr(jax, "block_until_ready", lambda state: state)
    with pytest.raises(KeyboardInterrupt):
        trace("0:9", tmp_path, calls, map(stopped, [1]))
    assert calls == []
    with pytest.raises(ZeroDivisionError):
        trace("0:9", tmp_path, calls, (1 // (1 - step) for step in range(3)))
    assert calls == [("start", "profile", True), 1, ("stop",)]


@pytest.mark.parametrize(
    "text", ["5", "5:", ":5", "5:5", "6:5", "-1:5", "a:b", "1:2:3", "1:" + "9" * 20]
)
def test_what_is_no_range(text):
    with pytest.raises(InputError, match="is no range of steps; write START:STOP"):
        steps_of(text)


@pytest.mark.slow
def test_a_trace_of_the_profiler_itself(tmp_path, capsys):
    with Profile("1:2", tmp_path) as profile:
        for step in range(3):
            profile.at(step, jax.jit(jnp.sin)(jnp.ones(4)))
    (written,) = tmp_path.rglob("perfetto_trace.json.gz")
    assert f"trace: {written};" in capsys.readouterr().out
