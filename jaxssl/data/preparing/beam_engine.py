"""Writes the units of a corpus by an Apache Beam pipeline, for corpora beyond one machine.

    this process   reads the sources, groups documents into units, and writes each unit to a text file
    workers        read such a file and do what a local worker does (`write_unit`)

The shards, the manifest and the order are therefore those of a local run. All workers and this process
must share the folder; the elements of the pipeline are only paths in it.
"""

import json
import shlex
from collections.abc import Generator, Iterable
from pathlib import Path

from jaxssl.data.prepared.manifest import Shard
from jaxssl.data.preparing.units import Job, Unit, finished_unit, write_unit
from jaxssl.data.sources.texts import Document
from jaxssl.errors import InputError


def write_units_with_beam(
    units: Iterable[Unit], job: Job, options: str
) -> Generator[tuple[Unit, Shard], None, None]:
    """Writes all units by one pipeline.

    Args:
      units: The units to write.
      job: What all units have in common; its folder is shared by all workers.
      options: Options of the pipeline, as on Beam's command line: "--runner FlinkRunner
        --flink_master HOST".

    Yields:
      Pairs of a unit, without its documents, and its shard.

    Raises:
      InputError: Apache Beam is not installed, or a shard is missing afterwards.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(
            "engine='beam' needs Apache Beam: pip install apache-beam, or set engine to 'local'"
        ) from error
    paths = [_leave(unit, Path(job.folder)) for unit in units]
    if not paths:
        return
    with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
        texts = pipeline | "paths" >> beam.Create([str(path) for path in paths])
        texts | beam.Reshuffle() | "write" >> beam.Map(_write, job)
    for path in paths:
        unit = _read(path)
        shard = finished_unit(unit, job)
        if shard is None:
            raise InputError(
                f"the shard of {path.stem} is not in {job.folder} after the pipeline; choose a folder "
                "that all workers and this machine share"
            )
        path.unlink()
        yield unit._replace(documents=[]), shard


def _write(path: str, job: Job) -> None:
    """Writes the unit in the file at `path`; this runs in a worker."""
    write_unit(_read(Path(path)), job)


def _leave(unit: Unit, folder: Path) -> Path:
    """Writes a unit's documents to a file for a worker, and returns its path."""
    path = folder / f"{unit.split}-{unit.number:05d}.text.json"
    path.write_text(json.dumps(unit), encoding="ascii")
    return path


def _read(path: Path) -> Unit:
    """Reads a unit that `_leave` wrote."""
    split, number, documents = json.loads(path.read_text(encoding="ascii"))
    return Unit(split, number, [Document(*document) for document in documents])
