"""Units of work as an Apache Beam pipeline, for corpora beyond one machine: `--engine beam`.

    this process   reads the sources, cuts units, and leaves each as a file of text in the folder
    workers        read such a file and do what a local worker does (`write_unit`), nothing else

So shards, manifest and order are those of a local run. The folder must be one that all workers and
this process share; an element of the pipeline is no more than a path in it.
"""

import json
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxssl.data.prepared.manifest import Shard
from jaxssl.data.preparing.units import Job, Unit, finished_unit, write_unit
from jaxssl.data.sources.texts import Document
from jaxssl.errors import InputError


def write_units_with_beam(
    units: Iterable[Unit], job: Job, options: str
) -> Iterator[tuple[Unit, Shard]]:
    """Writes every unit by one pipeline and yields it with its shard, without its documents.

    `options` are the pipeline's as on a command line: "--runner FlinkRunner --flink_master …".
    Raises InputError where Beam is not installed, or a shard is not in the folder afterwards.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise InputError(
            "--engine beam needs Apache Beam: pip install 'jaxssl[beam]', or leave out --engine"
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
                f"no worker has left the shard of {path.stem} in {job.folder}; choose a folder "
                "that all workers and this machine share"
            )
        path.unlink()
        yield unit._replace(documents=[]), shard


def _write(path: str, job: Job) -> None:
    """What a worker does."""
    write_unit(_read(Path(path)), job)


def _leave(unit: Unit, folder: Path) -> Path:
    path = folder / f"{unit.split}-{unit.number:05d}.text.json"
    path.write_text(json.dumps(unit), encoding="ascii")
    return path


def _read(path: Path) -> Unit:
    split, number, documents = json.loads(path.read_text(encoding="ascii"))
    return Unit(split, number, [Document(*document) for document in documents])
