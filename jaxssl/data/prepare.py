"""Raw text to prepared rows, once: read, train the tokenizer, encode, pack, write.

    1. survey   reads the sources once: bad input shows now, not after hours; the split is settled,
                and the tokenizer is trained on the documents that are not held out
    2. units    reads them again, cuts them into units of work and writes a shard each, on all cores
    3. finish   names the shards, writes the manifest, and renames `FOLDER.partial` to `FOLDER`

Whatever was finished when a run was killed is found again. The shards depend on the text, the
tokenizer and the settings, and on nothing else.
"""

import contextlib
import dataclasses
import fcntl
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.beam_engine import write_units_with_beam
from jaxssl.data.manifest import (
    MANIFEST,
    TOKENIZER,
    UPLOADING,
    Manifest,
    Shard,
    partial_of,
    read_manifest,
    upload_set,
    write_manifest,
)
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources import Source
from jaxssl.data.split import SplitSeeker
from jaxssl.data.stores import Store, folder_here, is_url
from jaxssl.data.survey import Survey, divide, read_survey, survey_sources
from jaxssl.data.tokenizer import load_tokenizer
from jaxssl.data.train_tokenizer import SentencePiece
from jaxssl.data.units import Job, Unit, cut_units, finished_unit, row_dtype
from jaxssl.data.workers import write_units
from jaxssl.errors import InputError

UNITS, LOCK = "units", "lock"


@dataclass(frozen=True)
class Prepare:
    """What is prepared, and how."""

    source: Source
    length: int = 128  # tokens of a row
    tokenizer: SentencePiece | str = SentencePiece()  # trained, or the path of one
    valid: Source | float = 0.02  # a source of its own, or the share of documents held out
    shard_characters: int = 4_000_000  # of text in a shard: about a million tokens, two megabytes
    workers: int | None = None  # processes; one a core if None. The result does not depend on it
    engine: Literal["local", "beam"] = "local"  # nor on who does the work
    beam_options: str = ""  # of the pipeline: "--runner FlinkRunner --flink_master …"

    def __post_init__(self) -> None:
        for name, least in (("length", 8), ("shard_characters", 1), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name}={value} must be at least {least}")
        if isinstance(self.valid, (int, float)):
            SplitSeeker(self.valid)
        if self.engine not in ("local", "beam"):
            raise InputError(f"engine {self.engine!r} is unknown; use local or beam")
        if self.beam_options and self.engine != "beam":
            raise InputError("beam_options are of --engine beam; pass it, or leave them out")


def prepare(config: Prepare, folder: str | Path, progress: TextProgress | None = None) -> Manifest:
    """Prepares rows in `folder` and returns their manifest; goes on where a killed run stopped.

    A folder that holds the same already is left as it is: the sources are not read again. Raises
    InputError for bad input, for a folder that was prepared, or begun, with another configuration,
    and for one that holds something else. A folder on an object store is made in the cache first.
    """
    if is_url(folder):
        return _prepare_there(config, Store(folder), progress)
    folder = Path(folder)
    partial, description = partial_of(folder), describe(config)
    with progress or TextProgress() as report:
        if manifest := _already(folder, description):
            return manifest
        with _locked(partial, report):
            if manifest := _already(folder, description):  # by whoever held the lock
                return manifest
            if (partial / MANIFEST).is_file():  # killed just before the end
                manifest = read_manifest(partial)
                _check_same(partial, manifest.config, description)
                return _put_in_place(manifest, folder)
            survey = read_survey(partial)
            if survey:
                _check_same(partial, survey.config, description)
            else:
                survey = survey_sources(
                    config.source, config.valid, config.tokenizer, partial, description, report
                )
            shards = _write_units(config, survey, partial, report)
            return _put_in_place(_name_shards(shards, config, survey, partial), folder)


def _prepare_there(config: Prepare, store: Store, progress: TextProgress | None) -> Manifest:
    """In a folder of this machine, which is copied to the store, its manifest last, and removed."""
    description, work = describe(config), folder_here(store.url, "prepared")
    with progress or TextProgress() as report:
        if manifest := _already_there(store, description):
            return manifest
        with _locked(work.with_name(f"{work.name}.upload"), report):
            if manifest := _already_there(store, description):  # by whoever held the lock
                return manifest
            manifest = prepare(config, work, report)
            report.say(f"copying {work} to {store.url}")
            upload_set(work, store, manifest.fingerprint)
            shutil.rmtree(work)
            return manifest


def _already_there(store: Store, description: dict[str, Any]) -> Manifest | None:
    there = store.sizes()
    if not there or (UPLOADING in there and MANIFEST not in there):
        return None
    if MANIFEST not in there:
        raise InputError(f"{store.url} holds other files; choose another folder")
    manifest = read_manifest(store.url)
    _check_same(store.url, manifest.config, description)
    return manifest


def describe(config: Prepare) -> dict[str, Any]:
    """The configuration as JSON, less who does the work, on which nothing depends."""
    described = _describe(config)
    for name in ("workers", "engine", "beam_options"):
        del described[name]
    return described


def _describe(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _describe(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [_describe(part) for part in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _already(folder: Path, description: dict[str, Any]) -> Manifest | None:
    """The manifest of a set that was prepared with the same configuration."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not (folder / MANIFEST).is_file():
        raise InputError(f"{folder} exists and holds no prepared rows; choose another folder")
    manifest = read_manifest(folder)
    _check_same(folder, manifest.config, description)
    return manifest


def _check_same(folder: Path | str, old: dict[str, Any], new: dict[str, Any]) -> None:
    if difference := _difference(old, new):
        raise InputError(
            f"{folder} was made with another configuration ({difference}); "
            "remove it or choose another folder"
        )


def _difference(old: Any, new: Any, path: str = "") -> str | None:
    """The first place where two descriptions differ, as `length: 128, now 256`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{path}.{name}" if path else name
            if found := _difference(old.get(name), new.get(name), inner):
                return found
        return None
    return None if old == new else f"{path}: {old}, now {new}"


@contextlib.contextmanager
def _locked(partial: Path, report: TextProgress) -> Iterator[None]:
    """One process a folder: the others wait. The lock goes with the process, however it ends."""
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(f"{partial} cannot be made: a file is in the way") from error
    with (partial / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report.say(f"another process writes {partial}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:  # nothing to go on from: leave nothing
            if partial.is_dir() and {path.name for path in partial.iterdir()} == {LOCK}:
                (partial / LOCK).unlink()
                partial.rmdir()


def _write_units(
    config: Prepare, survey: Survey, partial: Path, report: TextProgress
) -> dict[str, tuple[Shard, ...]]:
    """The shards of every split, in order: those that an earlier run has finished, and new ones."""
    report.begin("packing", total_bytes=survey.bytes)
    (partial / UNITS).mkdir(exist_ok=True)
    for left in (partial / UNITS).glob("*.tmp"):  # of a run that was killed or met a full disk
        left.unlink(missing_ok=True)
    job = Job(
        folder=str(partial / UNITS),
        tokenizer=str(partial / TOKENIZER),
        fingerprint=load_tokenizer(partial / TOKENIZER).fingerprint,
        length=config.length,
    )
    found: dict[tuple[str, int], Shard] = {}

    def add(unit: Unit, shard: Shard, *, reused: bool) -> None:
        found[unit.split, unit.number] = shard
        report.add(
            documents=shard.documents, text_bytes=shard.bytes, tokens=shard.tokens, reused=reused
        )

    def unfinished() -> Iterator[Unit]:
        documents = divide(config.source, config.valid, survey)
        for unit in cut_units(documents, config.shard_characters):
            if shard := finished_unit(unit, job):
                add(unit, shard, reused=True)
            else:
                yield unit

    if config.engine == "beam":
        written = write_units_with_beam(unfinished(), job, config.beam_options)
    else:
        written = write_units(unfinished(), job, config.workers)
    for unit, shard in written:
        add(unit, shard, reused=False)
    documents = sum(shard.documents for shard in found.values())
    if documents != survey.documents:
        raise InputError(
            f"the sources changed while they were read ({survey.documents} documents, then "
            f"{documents}); remove {partial} and run the same command again"
        )
    return {
        split: tuple(found[key] for key in sorted(found) if key[0] == split)
        for split in ("train", "valid")
    }


def _name_shards(
    shards: dict[str, tuple[Shard, ...]], config: Prepare, survey: Survey, partial: Path
) -> Manifest:
    """Moves the shards to their names and writes the manifest: from here on the set is whole."""
    tokenizer = load_tokenizer(partial / TOKENIZER)
    manifest = Manifest(
        length=config.length,
        dtype=row_dtype(tokenizer.vocab_size),
        vocab_size=tokenizer.vocab_size,
        pad=tokenizer.pad,
        unknown=tokenizer.unknown,
        begin=tokenizer.begin,
        end=tokenizer.end,
        mask=tokenizer.mask,
        tokenizer=tokenizer.fingerprint,
        skipped=survey.skipped,
        splits={
            split: tuple(_named(shard, split, i, len(parts)) for i, shard in enumerate(parts))
            for split, parts in shards.items()
        },
        config=survey.config,
    )
    for split, parts in shards.items():
        if manifest.total(split, "rows") == 0:
            raise InputError(f"no document of the {split} split has a token; remove {partial}")
        for old, new in zip(parts, manifest.splits[split], strict=True):
            (partial / UNITS / old.file).replace(partial / new.file)
            (partial / UNITS / old.documents_file).replace(partial / new.documents_file)
    write_manifest(manifest, partial)
    return manifest


def _named(shard: Shard, split: str, number: int, count: int) -> Shard:
    stem = f"{split}-{number:05d}-of-{count:05d}"
    return dataclasses.replace(
        shard, file=f"{stem}.array_record", documents_file=f"{stem}.documents.npz"
    )


def _put_in_place(manifest: Manifest, folder: Path) -> Manifest:
    """Removes whatever is not of the finished set and renames the folder."""
    partial = partial_of(folder)
    kept = {MANIFEST, TOKENIZER}
    for shard in (shard for parts in manifest.splits.values() for shard in parts):
        kept |= {shard.file, shard.documents_file}
    for path in partial.iterdir():
        if path.name in kept:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    if folder.is_dir():
        folder.rmdir()  # it is empty, else nothing would have been prepared
    partial.rename(folder)
    return manifest
