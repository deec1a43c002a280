"""Lets the first host alone prepare the rows that a recipe asks for; the other hosts wait for them."""

import time

from jaxssl.data.prepared.manifest import is_prepared
from jaxssl.errors import InputError
from jaxssl.runs.stored_runs import run_folder
from jaxssl.training.config import Pretraining

PAUSE = 1.0  # seconds between two looks at the folder


def prepare_once(config: Pretraining, *, host: int, hosts: int) -> None:
    """Returns when the rows are prepared, in a folder that all hosts share.

    A host that waits ends when the first one dies (`runs/watch.py`). A run that goes on only reads: rows that
    are missing then are more likely in another place than to be made again, perhaps from another source.

    Args:
      config: Configuration of the run; nothing is done where `config.data` prepares nothing.
      host: Index of this host; host 0 prepares.
      hosts: Number of hosts.

    Raises:
      InputError: A host has waited for `hosts.prepare_within` seconds, preparing was refused, or the run was
        begun before and its rows are missing.
    """
    rows = config.data
    folder = rows.paths[0]
    if rows.prepare is None:
        return
    if (run_folder(config.run) / "config.json").is_file() and not is_prepared(folder):
        raise InputError(
            f"{folder}, the rows of {config.run}, is missing, and a run that goes on prepares nothing; bring "
            "it back, or set run to a new folder: that run prepares it again, and then this one can go on"
        )
    if hosts == 1 or is_prepared(folder):
        return  # one host alone leaves it to `open_rows`
    if host == 0:
        rows.prepare.into(folder)
    else:
        _wait(folder, host, config.hosts.prepare_within)


def _wait(folder: str, host: int, limit: float) -> None:
    print(f"host {host} waits for host 0 to prepare {folder}", flush=True)
    end = time.monotonic() + limit
    while not is_prepared(folder):
        if time.monotonic() > end:
            raise InputError(
                f"host {host} has waited for {limit:g} s, and host 0 has not prepared "
                f"{folder}; set a larger hosts.prepare_within, prepare the rows first "
                "with `jaxssl prepare`, or take a folder that all hosts share"
            )
        time.sleep(PAUSE)
