"""A relay between JAX's client in this process and JAX's service on host 0.

When the process of host 0 is killed, its connections end, and JAX's client then ends this process with a
C++ stack and SIGABRT. Behind a relay the client sees a connection that stays open, and it notices nothing
before its heartbeats are overdue, which takes longer than `Watch` needs to name the host that is gone.
"""

import contextlib
import os
import socket
import threading

LOCAL = "127.0.0.1"
PROXIES, NO_PROXY = {"http_proxy", "https_proxy", "grpc_proxy"}, "no_grpc_proxy"  # gRPC reads them
SIZE = 2**16  # bytes that are read at a time


def relay_to(coordinator: str) -> str:
    """Returns a local address, `127.0.0.1:PORT`, whose connections are passed on to `coordinator`.

    Threads pass the bytes on for as long as the process lives. A connection that host 0 has closed stays
    open on this side; one that cannot be made at first is closed, so that the client tries again.

    Args:
      coordinator: `ADDRESS:PORT` of host 0.
    """
    address, _, port = coordinator.rpartition(":")
    if any(name.lower() in PROXIES for name in os.environ):  # gRPC would ask it for this machine
        open_to = os.environ.get(NO_PROXY) or os.environ.get("no_proxy", "")
        os.environ[NO_PROXY] = f"{open_to},{LOCAL}".strip(",")
    server = socket.create_server((LOCAL, 0))
    there = (address.strip("[]"), int(port))
    threading.Thread(target=_accept, args=(server, there), name="relay", daemon=True).start()
    return f"{LOCAL}:{server.getsockname()[1]}"


def _accept(server: socket.socket, there: tuple[str, int]) -> None:
    was_there = False
    kept: list[socket.socket] = []  # a socket that nobody refers to is closed
    while True:
        client = server.accept()[0]
        try:
            service = socket.create_connection(there)
        except OSError:
            if was_there:
                kept.append(client)
            else:
                client.close()
            continue
        was_there = True
        kept.append(client)
        for source, target, ends in ((client, service, True), (service, client, False)):
            arguments = (source, target, ends)
            threading.Thread(target=_pass_on, args=arguments, name="relay", daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, ends: bool) -> None:
    """Passes bytes on until the source ends, and then ends the target, too, if `ends` is true."""
    with contextlib.suppress(OSError):
        while content := source.recv(SIZE):
            target.sendall(content)
    if ends:
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)
