"""Hosts find each other: threads of one process; who is late, double, different, or no host at all."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from jaxssl.errors import HostIsGone, InputError
from jaxssl.runs import roll_call
from jaxssl.runs.roll_call import Present, call_the_roll

FACTS = {"JAX_ENABLE_X64": "False", "the version of jax": "1.2"}


@pytest.fixture(autouse=True)
def no_long_pauses(monkeypatch):
    monkeypatch.setattr(roll_call, "SETTLE", 0.3)
    monkeypatch.setattr(roll_call, "AGAIN", 0.01)


@pytest.fixture
def coordinator():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def answers(coordinator, hosts, wait=5.0):
    """What the roll call raises for each of the hosts, or None."""
    with ThreadPoolExecutor(len(hosts)) as pool:
        calls = [pool.submit(call_the_roll, coordinator, host, wait) for host in hosts]
        return [call.exception() for call in calls]


def test_all_are_there(coordinator):
    hosts = [Present(index, 3, FACTS) for index in (2, 0, 1)]
    for _ in range(2):  # the port is free again
        assert answers(coordinator, hosts) == [None] * 3


@pytest.mark.parametrize(
    ("hosts", "line"),
    [
        (
            [
                Present(0, 2, FACTS, "a", 5),
                Present(1, 2, {**FACTS, "JAX_ENABLE_X64": "True"}, "b", 7),
            ],
            "JAX_ENABLE_X64 is True on host 1 (b, process 7) and False on host 0 (a, process 5); start "
            "all hosts with the same command, environment and code",
        ),
        (
            [Present(0, 3, FACTS), Present(1, 3, FACTS, "b", 7), Present(1, 3, FACTS, "b", 7)],
            "hosts.index=1 was given to two hosts: b, process 7, and b, process 7; give every host its "
            "own index from 0 to 2",
        ),
        (
            [Present(0, 2, FACTS, "a", 5), Present(2, 3, FACTS, "b", 7)],
            "hosts.count=3 of host 2 (b, process 7) is not hosts.count=2 of host 0 (a, process 5)",
        ),
        (
            [Present(0, 2, FACTS, "a", 5), Present(1, 2, {}, "b", 7)],
            "JAX_ENABLE_X64 is None on host 1 (b, process 7) and False on host 0 (a, process 5); start "
            "all hosts with the same command, environment and code",
        ),
    ],
)
def test_all_hear_what_is_wrong(coordinator, hosts, line):
    for found in answers(coordinator, hosts):
        assert isinstance(found, InputError)
        assert str(found) == line


def test_who_is_late_is_named(coordinator):
    hosts = [Present(0, 4, FACTS, "a", 5), Present(2, 4, FACTS)]
    for found in answers(coordinator, hosts, wait=0.4):
        assert isinstance(found, HostIsGone)
        assert str(found) == (
            "host 1, 3 of 4 have not come to host 0 (a, process 5) within 0.4 s (hosts.wait); start all "
            "hosts, or set a larger hosts.wait"
        )


def test_a_coordinator_that_is_not_there(coordinator):
    told = f"host 0 has not answered at hosts.coordinator={coordinator} within 0.1 s .*refused"
    with pytest.raises(HostIsGone, match=told):
        call_the_roll(coordinator, Present(1, 2, FACTS), 0.1)


def test_a_port_that_is_taken(coordinator):
    port = coordinator.rpartition(":")[2]
    told = f"hosts.coordinator={coordinator}: port {port} cannot be used .Address already in use.: "
    with (
        socket.create_server(("127.0.0.1", int(port))),
        pytest.raises(InputError, match=told),
    ):
        call_the_roll(coordinator, Present(0, 2, FACTS), 5)


@pytest.mark.parametrize(
    "said", [b"", b"GET / HTTP/1.1\r\n", b'{"index": "1"}\n', b"[" * 9999 + b"\n"]
)
def test_strangers_and_hosts_that_come_again_do_no_harm(coordinator, said):
    """Somebody else connects; host 1 connects, is killed, and comes again."""
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call_the_roll, coordinator, Present(0, 2 + (said == b""), FACTS), 5)
        address = ("127.0.0.1", int(coordinator.rpartition(":")[2]))
        while True:
            try:
                stranger = socket.create_connection(address)
                break
            except ConnectionRefusedError:
                assert not first.done()
        stranger.sendall(said or roll_call._line(Present(1, 3, FACTS)))
        stranger.close()
        if not said:
            again = pool.submit(call_the_roll, coordinator, Present(1, 3, FACTS), 5)
            call_the_roll(coordinator, Present(2, 3, FACTS), 5)
            again.result()
        else:
            call_the_roll(coordinator, Present(1, 2, FACTS), 5)
        first.result()


def test_another_program_at_the_address_is_no_answer(coordinator):
    """Before a restart JAX's old service may still listen."""
    with (
        socket.create_server(("127.0.0.1", int(coordinator.rpartition(":")[2]))) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        found = pool.submit(call_the_roll, coordinator, Present(1, 2, FACTS), 0.2)
        server.accept()[0].close()
        with pytest.raises(HostIsGone, match="has not answered"):
            found.result()
