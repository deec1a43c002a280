"""The relay passes bytes on, and hides the end of the service from the client."""

import os
import socket

import pytest

from jaxssl.runs import relay
from jaxssl.runs.relay import relay_to
from jaxssl.runs.stop_signals import SIGNALS


@pytest.fixture(autouse=True)
def no_relay_is_left():
    """Closing a relay's standard input is what the end of this process would do; signals do not end it."""
    yield
    while relay.STARTED:
        process = relay.STARTED.pop()
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def connect(address):
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


@pytest.fixture
def pair():
    """A connection through a relay: the client's end and the service's."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(relay_to(f"127.0.0.1:{server.getsockname()[1]}"))
        service = server.accept()[0]
    service.settimeout(5)
    with client, service:
        yield client, service


def test_bytes_go_both_ways(pair):
    client, service = pair
    for source, target in (pair, reversed(pair)):
        content = os.urandom(3 * relay.SIZE)
        source.sendall(content)
        with target.makefile("rb") as reading:
            assert reading.read(len(content)) == content


def test_the_service_hears_the_end_of_the_client(pair):
    client, service = pair
    client.close()
    assert service.recv(1) == b""


def test_the_client_does_not_hear_the_end_of_the_service(pair):
    client, service = pair
    service.close()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with connect("{}:{}".format(*client.getpeername())) as again:  # it tries again
        again.settimeout(0.2)
        with pytest.raises(TimeoutError):
            again.recv(1)


def test_signals_to_all_processes_of_a_job_do_not_end_it(pair):
    client, service = pair
    (process,) = relay.STARTED
    client.sendall(b"a")
    assert service.recv(1) == b"a"
    for number in SIGNALS:
        process.send_signal(number)
    client.sendall(b"b")
    assert service.recv(1) == b"b"


def test_a_service_that_is_not_there_yet_is_tried_again():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with connect(relay_to(address)) as client:
            assert client.recv(1) == b""


def test_a_proxy_is_not_asked_for_this_machine(monkeypatch):
    for name in (*relay.PROXIES, *map(str.upper, relay.PROXIES), relay.NO_PROXY, "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    relay_to("127.0.0.1:1")
    assert relay.NO_PROXY not in os.environ
    monkeypatch.setenv("HTTP_PROXY", "http://10.0.0.1:3128")
    monkeypatch.setenv("no_proxy", "example.org")
    monkeypatch.setenv(relay.NO_PROXY, "")
    relay_to("127.0.0.1:1")
    assert os.environ[relay.NO_PROXY] == "example.org,127.0.0.1"
