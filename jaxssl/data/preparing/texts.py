"""Prepares text once: reads it, trains the tokenizer, encodes, packs into rows, writes shards.

    1. survey   reads the sources once: finds bad input before hours of work, and the split; trains the
                tokenizer on the documents that are not held out
    2. units    reads the sources again, groups documents into units and writes a shard for each, on all
                cores
    3. finish   names the shards, writes the manifest, and renames `FOLDER.partial` to `FOLDER`

A killed run can be continued: finished steps and shards are reused. The shards depend on the text, the
tokenizer and the configuration, and on nothing else.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxssl.data.prepared.manifest import TOKENIZER, Manifest, Shard, read_manifest
from jaxssl.data.preparing.beam_engine import write_units_with_beam
from jaxssl.data.preparing.folder import check_same, make_folder, named, units_of
from jaxssl.data.preparing.held_out import check_share_to_hold_out
from jaxssl.data.preparing.remarks import remarks_on
from jaxssl.data.preparing.survey import Survey, divide, read_survey, survey_sources
from jaxssl.data.preparing.units import LONGEST_ROW, Job, Unit, cut_units, finished_unit, row_dtype
from jaxssl.data.preparing.workers import MOST_WORKERS, Results, write_units
from jaxssl.data.preparing.writing import finish_set, write_shards
from jaxssl.data.progress import TextProgress
from jaxssl.data.sources.texts import Source
from jaxssl.data.stores.descriptions import described
from jaxssl.data.tokenizers.load import load_tokenizer
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError, check_at_most


@dataclass(frozen=True)
class Prepare:
    """Configuration of the preparation of text."""

    source: Source
    """The documents."""
    length: int = 128
    """Length of a row in tokens, from 8 to 1,048,576."""
    tokenizer: SentencePiece | str = SentencePiece()
    """Configuration of a tokenizer to train on the documents, or the path of a finished tokenizer."""
    valid: Source | float = 0.02
    """Held-out text for evaluation: the fraction of the text, in (0, 1), or a source of its own. Sections of
    long documents are held out where the documents are few."""
    lowercase: bool | None = None
    """Whether a `vocab.txt`, which does not record it, lower-cases text. None decides by its pieces."""
    shard_characters: int = 4_000_000
    """Upper limit of the text of a shard in characters; the default gives about a million tokens, two
    megabytes. A longer document is a shard of its own."""
    workers: int | None = None
    """Number of processes; None means one per core. The result does not depend on it."""
    engine: Literal["local", "beam"] = "local"
    """What runs the work: processes of this machine ("local") or an Apache Beam pipeline ("beam"). The
    result does not depend on it."""
    beam_options: str = ""
    """Options of the Beam pipeline, as on its command line: "--runner FlinkRunner --flink_master HOST"."""
    add_words: tuple[str, ...] = ()
    """Words that a finished tokenizer is grown by, for going on with a network that was trained with it."""

    def __post_init__(self) -> None:
        for name, least in (("length", 8), ("shard_characters", 1), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name}={value} must be at least {least}")
        check_at_most(self, LONGEST_ROW, "length")
        check_at_most(self, MOST_WORKERS, "workers")
        if isinstance(self.valid, (int, float)):
            check_share_to_hold_out(self.valid)
        if self.lowercase is not None and not isinstance(self.tokenizer, str):
            raise InputError(
                f"lowercase={self.lowercase} is for a vocab.txt; a tokenizer that is trained folds case with "
                "normalization='nfkc_cf'"
            )
        if self.add_words and not isinstance(self.tokenizer, str):
            raise InputError(
                "add_words are for a finished tokenizer; set tokenizer to that of the run to go on with"
            )
        if self.engine not in ("local", "beam"):
            raise InputError(f"engine {self.engine!r} is unknown; set engine to 'local' or 'beam'")
        if self.beam_options and self.engine != "beam":
            raise InputError(
                "beam_options are for engine='beam'; set engine to 'beam', or leave beam_options out"
            )

    def into(self, folder: str | Path) -> Manifest:
        """Prepares the rows in `folder`; the same as `prepare`."""
        return prepare(self, folder)


def prepare(config: Prepare, folder: str | Path, progress: TextProgress | None = None) -> Manifest:
    """Prepares rows of text, or continues where a killed run stopped.

    If the folder has already been prepared with the same configuration, nothing is read or written.

    Args:
      config: The sources and settings.
      folder: Folder of the prepared set, or a URL of an object store; the latter is prepared in the
        local cache and uploaded.
      progress: Where progress is shown; None means standard error.

    Returns:
      The manifest of the set.

    Raises:
      InputError: The input is missing or broken; or the folder was prepared, or begun, with another
        configuration, or contains something else.
    """
    description = describe(config)
    with progress or TextProgress() as report:

        def write(partial: Path) -> Manifest:
            survey = read_survey(partial)
            if survey:
                check_same(partial, survey.config, description)
            else:
                survey = survey_sources(
                    config.source,
                    config.valid,
                    config.tokenizer,
                    partial,
                    description,
                    report,
                    lowercase=config.lowercase,
                    add_words=config.add_words,
                )
            shards = _write_units(config, survey, partial, report)
            manifest = _name_shards(shards, config, survey, partial)
            for remark in remarks_on(manifest, partial, config.valid, survey.held_out):
                report.say(remark)
            return manifest

        return make_folder(folder, description, report, read=read_manifest, write=write)


def describe(config: Prepare) -> dict[str, Any]:
    """Returns `config` as JSON, without the fields that do not affect the result, such as workers."""
    content = described(config)
    for name in ("workers", "engine", "beam_options"):
        del content[name]
    if not config.add_words:
        del content["add_words"]
    for source in (content["source"], content["valid"]):
        if isinstance(source, dict):
            source.pop("limits", None)
    return content


def _write_units(
    config: Prepare, survey: Survey, partial: Path, report: TextProgress
) -> dict[str, tuple[Shard, ...]]:
    """Writes the shards that an earlier run has not finished, and returns the shards of each split."""
    report.begin("packing", total_bytes=survey.bytes)
    job = Job(
        folder=str(units_of(partial)),
        tokenizer=str(partial / TOKENIZER),
        fingerprint=load_tokenizer(partial / TOKENIZER).fingerprint,
        length=config.length,
    )

    def write(units: Iterable[Unit]) -> Results:
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
    """Moves the shards to their final names and writes the manifest, which completes the set."""
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
