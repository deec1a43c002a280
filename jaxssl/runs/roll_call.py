"""Hosts of a run find each other before JAX connects them, and compare what they run with.

JAX ends a process with a C++ stack when a host is late, the address is wrong, two hosts have one index, or
flags of its own differ. So host 0 first listens at the coordinator's address itself. Every other host
sends a line of JSON that says who it is, and receives one that says what is wrong, if anything is. Then the
port is free for JAX.
"""

import contextlib
import dataclasses
import json
import os
import socket
import time
from dataclasses import dataclass, field

from jaxssl.data.stores.json_files import parse_json
from jaxssl.data.stores.json_types import checked
from jaxssl.errors import HostIsGone, InputError

LONGEST = 2**16  # bytes of a line
SPEAK_WITHIN = 5.0  # seconds for the line of whoever connects
AGAIN = 0.3  # seconds between two attempts to connect
SETTLE = 5.0  # seconds for the other hosts to come and hear of a problem that was found


@dataclass(frozen=True)
class Present:
    """What a host says about itself."""

    index: int
    """Number of the host."""
    count: int
    """Number of hosts, as this host was told."""
    facts: dict[str, str]
    """What must be equal on all hosts, by name."""
    machine: str = field(default_factory=socket.gethostname)
    """Name of its machine."""
    process: int = field(default_factory=os.getpid)
    """Number of its process."""

    def __str__(self) -> str:
        """Returns how messages name the host."""
        return f"host {self.index} ({self.machine}, process {self.process})"


@dataclass(frozen=True)
class Answer:
    """What host 0 answers to every host."""

    problem: str = ""
    """Why the run cannot begin; empty if it can."""
    is_late: bool = False
    """Whether hosts are missing, so that another attempt may succeed."""

    def check(self) -> None:
        """Raises the problem: `HostIsGone` where hosts are missing, else `InputError`."""
        if self.problem:
            raise HostIsGone(self.problem) if self.is_late else InputError(self.problem)


def call_the_roll(coordinator: str, own: Present, wait: float) -> None:
    """Returns when all hosts are there and agree.

    Args:
      coordinator: `ADDRESS:PORT` of host 0. The port is free again afterwards.
      own: This host.
      wait: Seconds that the hosts wait for each other.

    Raises:
      InputError: The port is taken, two hosts have one index, or hosts differ; on every host.
      HostIsGone: A host has not come in time.
    """
    address, _, port = coordinator.rpartition(":")
    if own.index == 0:
        _call(coordinator, int(port), own, wait).check()
    else:
        _answer(coordinator, (address.strip("[]"), int(port)), own, wait).check()


def _call(coordinator: str, port: int, own: Present, wait: float) -> Answer:
    """Waits for the other hosts as host 0, and answers them."""
    there: dict[int, tuple[Present, socket.socket]] = {}
    problems: list[str] = []
    end = time.monotonic() + wait
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_listen(coordinator, port))
        links: list[socket.socket] = []
        while (left := end - time.monotonic()) > 0:
            # A host that has died meanwhile is not there; it may come again.
            there = {index: known for index, known in there.items() if _is_open(known[1])}
            if len(there) + 1 == own.count:
                break
            server.settimeout(left)
            with contextlib.suppress(OSError, InputError):  # late, or no host of a run
                link = stack.enter_context(server.accept()[0])
                link.settimeout(SPEAK_WITHIN)
                other = checked(_read(link), Present, "what a host says")
                links.append(link)
                if other.index in there and _is_open(there[other.index][1]):
                    problems.append(_same_index(there[other.index][0], other))
                else:
                    there[other.index] = (other, link)
                    problems += _differences(own, other)
                if problems:
                    end = min(end, time.monotonic() + SETTLE)
        answer = Answer(problems[0]) if problems else _missing(own, set(there), wait)
        for link in links:
            with contextlib.suppress(OSError):
                link.sendall(_line(answer))
    return answer


def _listen(coordinator: str, port: int) -> socket.socket:
    dual = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise InputError(
            f"hosts.coordinator={coordinator}: port {port} cannot be used ({os.strerror(error.errno or 0)}): "
            "another program, or another process with hosts.index=0, has it; choose another port, the "
            "same on all hosts"
        ) from error


def _answer(coordinator: str, address: tuple[str, int], own: Present, wait: float) -> Answer:
    """Tells host 0 who this host is, and returns its answer."""
    end = time.monotonic() + wait
    reason = ""
    while (left := end - time.monotonic()) > 0:
        try:
            with socket.create_connection(address, timeout=min(left, SPEAK_WITHIN)) as link:
                link.sendall(_line(own))
                link.settimeout(left + 2 * SETTLE)  # host 0 answers when its own time is over
                return checked(_read(link), Answer, "what host 0 says")
        except (OSError, InputError) as error:
            # Before a restart the old JAX, which answers otherwise, may still listen there.
            reason = str(error)
            time.sleep(AGAIN)
    return Answer(
        f"host 0 has not answered at hosts.coordinator={coordinator} within {wait:g} s (hosts.wait): "
        f"{reason}; start host 0, with that address, or set hosts.coordinator to where it is",
        is_late=True,
    )


def _differences(own: Present, other: Present) -> list[str]:
    """Says in which facts a host differs from host 0."""
    if other.count != own.count:
        return [f"hosts.count={other.count} of {other} is not hosts.count={own.count} of {own}"]
    return [
        f"{name} is {other.facts.get(name)} on {other} and {own.facts.get(name)} on {own}; start all "
        "hosts with the same command, environment and code"
        for name in own.facts | other.facts
        if own.facts.get(name) != other.facts.get(name)
    ]


def _same_index(one: Present, other: Present) -> str:
    return (
        f"hosts.index={one.index} was given to two hosts: {one.machine}, process {one.process}, and "
        f"{other.machine}, process {other.process}; give every host its own index from 0 to "
        f"{one.count - 1}"
    )


def _missing(own: Present, there: set[int], wait: float) -> Answer:
    missing = [str(host) for host in range(1, own.count) if host not in there]
    if not missing:
        return Answer()
    return Answer(
        f"host {', '.join(missing)} of {own.count} {'have' if missing[1:] else 'has'} not come to {own} "
        f"within {wait:g} s (hosts.wait); start all hosts, or set a larger hosts.wait",
        is_late=True,
    )


def _is_open(link: socket.socket) -> bool:
    """Returns whether the other end is still there."""
    link.setblocking(False)
    try:
        return link.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        link.settimeout(SPEAK_WITHIN)


def _line(content: Present | Answer) -> bytes:
    return json.dumps(dataclasses.asdict(content)).encode() + b"\n"


def _read(link: socket.socket) -> object:
    with link.makefile("rb") as lines:
        line = lines.readline(LONGEST)
    return parse_json(line, "the line")
