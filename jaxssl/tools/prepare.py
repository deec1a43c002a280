"""Prepare text or images for training. Text: train a tokenizer, encode, pack into rows of one length.

SOURCE is a text file, a folder of text files, a glob pattern, a .jsonl, .csv, .tsv or .parquet file
(each may be compressed: .gz, .bz2, .xz, .zst), a TFDS data set as tfds:NAME, or the word stdlib: the
English that ships with Python, which needs no download.

  jaxssl prepare stdlib --into prepared/stdlib --vocab-size 4096
  jaxssl prepare novels.txt.xz --documents blank_line --into prepared/novels --valid 0.02
  jaxssl prepare web.jsonl.zst --column text --into prepared/web --tokenizer bert-vocab.txt

With --size the source is images: a folder or a ZIP of files such as JPEG, PNG or WebP (LABEL/NAME), a .npz or
.npy file, tfds:NAME, or the word digits or photographs, which come with scikit-learn.

  jaxssl prepare cifar10.zip --size 32 --into prepared/cifar10 --valid 0.1
  jaxssl prepare photos/ --size 96 --captions captions.jsonl --into prepared/pairs --vocab-size 1000

All cores are used. The command may be killed at any time; the same command resumes where it stopped.
"""

import argparse
import dataclasses
import time
from typing import Any

from jaxssl.data.prepared.image_manifest import ImageManifest
from jaxssl.data.prepared.manifest import Manifest, is_prepared
from jaxssl.data.prepared.summaries import summary_of_images, summary_of_rows
from jaxssl.data.preparing.images import OF_CAPTIONS, Captions, PrepareImages
from jaxssl.data.preparing.target import target_of
from jaxssl.data.preparing.texts import Prepare
from jaxssl.data.sources.compressed import STANDARD, ReadLimits
from jaxssl.data.sources.texts import Source, source_from_path
from jaxssl.data.stores.store import is_url
from jaxssl.data.tokenizers.grow import read_words
from jaxssl.data.tokenizers.train_tokenizer import SentencePiece
from jaxssl.errors import InputError
from jaxssl.tools.next_step import training_command
from jaxssl.tools.prepare_images import add_image_options, check_kind, images_of

TRAINED = ("vocab_size", "kind", "normalization")  # options of a tokenizer that is trained
DEFAULT = {field.name: field.default for field in dataclasses.fields(Prepare)}
OF_TEXT = {**DEFAULT, **vars(STANDARD), "documents": "file", "on_bad_text": "stop"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl prepare` to `parser`."""
    parser.add_argument("source", metavar="SOURCE", help="text or images to read, see above")
    parser.add_argument(
        "--into",
        required=True,
        metavar="FOLDER",
        help="folder to write the prepared set to, here or on an object store (s3://…, gs://…)",
    )

    _add_text(parser.add_argument_group("text"))
    _add_tokens(parser.add_argument_group("tokens and rows"))
    add_image_options(parser.add_argument_group("images"))
    work = parser.add_argument_group("work")
    work.add_argument(
        "--workers",
        type=int,
        help="number of processes (default: one for each core); the result does not depend on it",
    )
    work.add_argument(
        "--engine",
        choices=["local", "beam"],
        default=DEFAULT["engine"],
        help="what runs the work: processes of this machine, or an Apache Beam pipeline for corpora that "
        "need several machines (default: %(default)s)",
    )
    work.add_argument(
        "--beam-options",
        default=DEFAULT["beam_options"],
        metavar="OPTIONS",
        help='options of the Beam pipeline, in quotes: --beam-options="--runner FlinkRunner …"',
    )
    work.add_argument(
        "--shard-characters",
        type=int,
        default=DEFAULT["shard_characters"],
        help="largest number of characters of text in a shard (default: %(default)s)",
    )


def _add_text(text: argparse._ArgumentGroup) -> None:
    text.add_argument(
        "--documents",
        choices=["file", "blank_line", "line"],
        default="file",
        help="how text files are split into documents: each file is one, or blank lines separate them, or "
        "each line is one (default: %(default)s)",
    )
    text.add_argument(
        "--column",
        help="column of .jsonl, .csv, .tsv, .parquet and tfds sources that holds the text (default: text, "
        "and caption in the file of --captions)",
    )
    text.add_argument(
        "--valid",
        type=_fraction_or_path,
        default=DEFAULT["valid"],
        metavar="FRACTION|PATH",
        help="what is held out for evaluation: a fraction of the text or images, or a source of its "
        "own (default: %(default)s)",
    )
    text.add_argument(
        "--on-bad-text",
        choices=["stop", "skip"],
        default="stop",
        help="documents that cannot be decoded: stop and name the position, or skip and count them "
        "(default: %(default)s)",
    )
    text.add_argument(
        "--document-mib",
        type=float,
        default=STANDARD.document_mib,
        metavar="MIB",
        help="upper limit of a document (limits.document_mib; default: %(default)g)",
    )
    text.add_argument(
        "--expansion",
        type=float,
        default=STANDARD.expansion,
        metavar="RATIO",
        help="upper limit of the size of decompressed files, in sizes of the compressed file "
        "(limits.expansion; default: %(default)g)",
    )


def _add_tokens(tokens: argparse._ArgumentGroup) -> None:
    tokens.add_argument(
        "--tokenizer",
        metavar="PATH",
        help="existing tokenizer: a run, a prepared set or a Hugging Face folder, sentencepiece .model, "
        "tokenizer.json, or vocab.txt of BERT (default: train one on the text)",
    )
    tokens.add_argument(
        "--add-words",
        metavar="FILE",
        help="words, one a line, or a second tokenizer, whose words the tokenizer grows by; train --start "
        "RUN then gives them the means of their old pieces",
    )
    tokens.add_argument(
        "--lowercase",
        choices=["yes", "no"],
        help="whether a vocab.txt lower-cases text (default: unless more than 1 %% of its pieces have "
        "capital letters)",
    )
    trained = SentencePiece()
    tokens.add_argument(
        "--vocab-size",
        type=int,
        help=f"vocabulary size of a tokenizer that is trained (default: {trained.vocab_size}, for captions "
        f"{OF_CAPTIONS.vocab_size})",
    )
    tokens.add_argument(
        "--kind",
        choices=["unigram", "bpe"],
        help=f"kind of a tokenizer that is trained (default: {trained.kind})",
    )
    tokens.add_argument(
        "--normalization",
        choices=["identity", "nfkc", "nfkc_cf"],
        help="normalisation of the text by a tokenizer that is trained; nfkc_cf also folds case "
        f"(default: {trained.normalization})",
    )
    tokens.add_argument(
        "--length",
        type=int,
        help=f"tokens of a row (default: {DEFAULT['length']}) or of a caption "
        f"(default: {Captions().length})",
    )


def run(options: argparse.Namespace) -> Manifest | ImageManifest:
    """Prepares a set as `options` say, prints what it holds and what to do next, and returns its manifest."""
    began = time.monotonic()
    check_kind(options, OF_TEXT)
    config = config_of(options)
    there_already = is_prepared(options.into if is_url(options.into) else target_of(options.into))
    manifest = config.into(options.into)
    if isinstance(manifest, ImageManifest):
        print(summary_of_images(manifest, options.into))
    else:
        print(summary_of_rows(manifest, options.into))
    if there_already:
        print("the set existed already, and the source was not read again")
    else:
        print(f"took {time.monotonic() - began:.1f} s")
    print(f"next: {training_command(manifest, options.into)}")
    return manifest


def config_of(options: argparse.Namespace) -> Prepare | PrepareImages:
    """Returns the configuration that `options` describe. Raises InputError if they contradict each other."""
    given: dict[str, Any] = {
        name: getattr(options, name) for name in TRAINED if getattr(options, name) is not None
    }
    if options.tokenizer and given:
        raise InputError(
            f"--{next(iter(given)).replace('_', '-')} is for a tokenizer that is trained; "
            "leave it out, or leave out --tokenizer"
        )
    trained = SentencePiece() if options.size is None else OF_CAPTIONS
    tokenizer = options.tokenizer or dataclasses.replace(trained, **given)
    if options.size is not None:
        return images_of(options, tokenizer)
    valid = options.valid
    return Prepare(
        source=_source(options.source, options),
        length=Prepare.length if options.length is None else options.length,
        tokenizer=tokenizer,
        valid=_source(valid, options) if isinstance(valid, str) else valid,
        add_words=read_words(options.add_words) if options.add_words else (),
        lowercase=None if options.lowercase is None else options.lowercase == "yes",
        shard_characters=options.shard_characters,
        workers=options.workers,
        engine=options.engine,
        beam_options=options.beam_options,
    )


def _source(path: str, options: argparse.Namespace) -> Source:
    return source_from_path(
        path,
        column=options.column,
        documents=options.documents,
        on_bad_text=options.on_bad_text,
        limits=ReadLimits(options.document_mib, options.expansion),
    )


def _fraction_or_path(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
