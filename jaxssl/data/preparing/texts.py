"""Raw text to prepared rows, once: read, train the tokenizer, encode, pack, write.

    1. survey   reads the sources once: bad input shows now, not after hours; the split is settled,
                and the tokenizer is trained on the documents that are not held out
    2. units    reads them again, cuts them into units of work and writes a shard each, on all cores
    3. finish   names the shards, writes the manifest, and renames `FOLDER.partial` to `FOLDER`

Whatever was finished when a run was killed is found again. The shards depend on the text, the
tokenizer and the settings, and on nothing else.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.prepared.manifest import TOKENIZER, Manifest, Shard, read_manifest
from jaxssl.data.preparing.beam_engine import write_units_with_beam
from jaxssl.data.preparing.folder import check_same, make_folder, named, units_of
from jaxssl.data.preparing.split import SplitSeeker
from jaxssl.data.preparing.survey import Survey, divide, read_survey, survey_sources
from jaxssl.data.preparing.units import Job, Unit, cut_units, finished_unit, row_dtype
from jaxssl.data.preparing.workers import write_units
from jaxssl.data.preparing.writing import finish_set, write_shards
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.texts import Source
from jaxssl.data.stores.descriptions import described
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError


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

    def into(self, folder: str | Path) -> Manifest:
        """As `prepare`."""
        return prepare(self, folder)


def prepare(config: Prepare, folder: str | Path, progress: TextProgress | None = None) -> Manifest:
    """Prepares rows in `folder` and returns their manifest; goes on where a killed run stopped.

    A folder that holds the same already is left as it is: the sources are not read again. Raises
    InputError for bad input, for a folder that was prepared, or begun, with another configuration,
    and for one that holds something else. A folder on an object store is made in the cache first.
    """
    description = describe(config)
    with progress or TextProgress() as report:

        def write(partial: Path) -> Manifest:
            survey = read_survey(partial)
            if survey:
                check_same(partial, survey.config, description)
            else:
                survey = survey_sources(
                    config.source, config.valid, config.tokenizer, partial, description, report
                )
            shards = _write_units(config, survey, partial, report)
            return _name_shards(shards, config, survey, partial)

        return make_folder(folder, description, report, read=read_manifest, write=write)


def describe(config: Prepare) -> dict[str, Any]:
    """The configuration as JSON, less who does the work, on which nothing depends."""
    content = described(config)
    for name in ("workers", "engine", "beam_options"):
        del content[name]
    return content


def _write_units(
    config: Prepare, survey: Survey, partial: Path, report: TextProgress
) -> dict[str, tuple[Shard, ...]]:
    """The shards of every split, in order: those that an earlier run has finished, and new ones."""
    report.begin("packing", total_bytes=survey.bytes)
    job = Job(
        folder=str(units_of(partial)),
        tokenizer=str(partial / TOKENIZER),
        fingerprint=load_tokenizer(partial / TOKENIZER).fingerprint,
        length=config.length,
    )

    def write(units: Iterable[Unit]) -> Iterator[tuple[Unit, Shard]]:
        if config.engine == "beam":
            return write_units_with_beam(units, job, config.beam_options)
        return write_units(units, job, config.workers)

    shards = write_shards(
        cut_units(divide(config.source, config.valid, survey), config.shard_characters),
        report,
        find=lambda unit: finished_unit(unit, job),
        write=write,
        count=lambda shard: {
            "documents": shard.documents,
            "text_bytes": shard.bytes,
            "tokens": shard.tokens,
        },
    )
    documents = sum(shard.documents for parts in shards.values() for shard in parts)
    if documents != survey.documents:
        raise InputError(
            f"the sources changed while they were read ({survey.documents} documents, then "
            f"{documents}); remove {partial} and run the same command again"
        )
    return shards


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
        splits=named(shards),
        config=survey.config,
    )
    return finish_set(manifest, shards, partial, needs="document with a token")
