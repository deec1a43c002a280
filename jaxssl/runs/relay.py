"""A relay between JAX's client in this process and JAX's service on host 0.

When the process of host 0 is killed, its connections end, and JAX's client then ends this process with a
C++ stack and SIGABRT. Behind a relay the client sees a connection that stays open, and it notices nothing
before its heartbeats are overdue, which takes longer than `Watch` needs to name the host that is gone.

The relay is a process of its own, as this one may wait in JAX with Python's lock held. It runs this file as a
program, without the package, and ends with the process that has started it.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

SIZE = 2**16  # bytes that are read at a time
LOCAL = "127.0.0.1"
PROXIES, NO_PROXY = {"http_proxy", "https_proxy", "grpc_proxy"}, "no_grpc_proxy"  # gRPC reads them
STARTED: list[
    subprocess.Popen[bytes]
] = []  # the relays of this process, which last as long as it does


def relay_to(coordinator: str) -> str:
    """Returns a local address, `127.0.0.1:PORT`, whose connections are passed on to `coordinator`.

    A connection that host 0 has closed stays open on this side; one that cannot be made at first is
    closed, so that the client tries again.

    Args:
      coordinator: `ADDRESS:PORT` of host 0.
    """
    if any(name.lower() in PROXIES for name in os.environ):  # gRPC would ask it for this machine
        open_to = os.environ.get(NO_PROXY) or os.environ.get("no_proxy", "")
        os.environ[NO_PROXY] = f"{open_to},{LOCAL}".strip(",")
    address, _, port = coordinator.rpartition(":")
    with socket.create_server((LOCAL, 0)) as server:
        command = [sys.executable, "-I", __file__, str(server.fileno()), address.strip("[]"), port]
        STARTED.append(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[server.fileno()],
                start_new_session=True,
            )
        )
        return f"{LOCAL}:{server.getsockname()[1]}"


def main() -> None:
    """Runs the relay: the arguments are its listening socket, and address and port of host 0."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # a cluster sends them to all processes of a job
    server = socket.socket(fileno=int(sys.argv[1]))
    there = (sys.argv[2], int(sys.argv[3]))
    threading.Thread(target=_accept, args=(server, there), daemon=True).start()
    while os.read(0, 1):  # nothing comes before the end
        pass


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
            threading.Thread(target=_pass_on, args=(source, target, ends), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, ends: bool) -> None:
    """Passes bytes on until the source ends, and then ends the target, too, if `ends` is true."""
    with contextlib.suppress(OSError):
        while content := source.recv(SIZE):
            target.sendall(content)
    if ends:
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main()
