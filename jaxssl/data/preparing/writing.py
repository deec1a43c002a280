"""How the shards of a set are written and the set is finished; the same for rows of text and images."""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxssl.data.prepared.manifest import write_manifest
from jaxssl.data.preparing.folder import move_units
from jaxssl.data.preparing.units import Unit
from jaxssl.data.progress import TextProgress
from jaxssl.errors import InputError

AnyManifest = TypeVar("AnyManifest", bound=Any)
AnyShard = TypeVar("AnyShard", bound=Any)


def write_shards(
    units: Iterable[Unit],
    report: TextProgress,
    *,
    find: Callable[[Unit], AnyShard | None],
    write: Callable[[Iterable[Unit]], Generator[tuple[Unit, AnyShard], None, None]],
    count: Callable[[AnyShard], dict[str, int]],
) -> dict[str, tuple[AnyShard, ...]]:
    """Writes the units that an earlier run has not finished, and returns the shards of all units.

    Args:
      units: All units of all splits, in any order.
      report: Counts what is done.
      find: Returns the shard of a unit if an earlier run has finished it, else None.
      write: Writes units, in any order, and yields each with its shard.
      count: Returns what `report.add` counts for a shard: documents, bytes and tokens.

    Returns:
      The shards of "train" and of "valid", in the order of the numbers of their units.
    """
    found: dict[tuple[str, int], AnyShard] = {}

    def add(unit: Unit, shard: AnyShard, *, reused: bool) -> None:
        found[unit.split, unit.number] = shard
        report.add(**count(shard), reused=reused)

    def unfinished() -> Iterator[Unit]:
        for unit in units:
            if (shard := find(unit)) is not None:
                add(unit, shard, reused=True)
            else:
                yield unit

    written = write(unfinished())
    with contextlib.closing(written):  # ends its processes at once if this loop is interrupted
        for unit, shard in written:
            add(unit, shard, reused=False)
    return {
        split: tuple(found[key] for key in sorted(found) if key[0] == split)
        for split in ("train", "valid")
    }


def finish_set(
    manifest: AnyManifest, shards: Mapping[str, Sequence[Any]], partial: Path, *, needs: str
) -> AnyManifest:
    """Moves the shards to their final names and writes the manifest, which makes the set complete.

    Args:
      manifest: The manifest of the set; its shards have their final names.
      shards: The same shards, by split, under the names that they were written with.
      partial: The folder in which the set is made.
      needs: What every split needs at least one of, for the error message: "document with a token".

    Returns:
      `manifest`.

    Raises:
      InputError: A split has no row.
    """
    for split in shards:
        if manifest.total(split, "rows") == 0:
            raise InputError(f"the {split} split has no {needs}; remove {partial}")
    move_units(shards, manifest.splits, partial)
    write_manifest(manifest, partial)
    return manifest
