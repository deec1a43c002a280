"""Rows that a recipe prepares are prepared by the first host alone: the others wait, and say for what."""

import time

from jaxssl.data.prepared.manifest import is_prepared
from jaxssl.errors import InputError
from jaxssl.training.config import Pretraining

PAUSE = 1.0  # seconds between two looks at the folder


def prepare_once(config: Pretraining, *, host: int, hosts: int) -> None:
    """Returns when the rows are there, in a folder that all hosts share.

    A host that waits leaves when the first one dies (`watch.py`). Raises InputError where it has waited
    for `hosts.prepare_within` seconds, and on the first host for what `prepare` refuses.
    """
    rows = config.data
    folder = rows.paths[0]
    if rows.prepare is None or hosts == 1 or is_prepared(folder):
        return  # where rows are missing that no recipe prepares, `open_rows` says so
    with config.watch(0, host=host, hosts=hosts, is_training=False):
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
                f"{folder}; pass a larger --hosts.prepare-within, prepare the rows first "
                "with `jaxssl prepare`, or take a folder that all hosts share"
            )
        time.sleep(PAUSE)
