"""What a prepared set contains, as a few lines for a person."""

from pathlib import Path

from jaxssl.data.prepared.files import file_sizes
from jaxssl.data.prepared.image_manifest import ImageManifest
from jaxssl.data.prepared.manifest import TOKENIZER, Manifest, SetManifest

MOST_LABELS, MOST_NAMES = 8, 4  # so many labels, and names of images, are listed


def summary_of_rows(manifest: Manifest, folder: str | Path) -> str:
    """Describes a prepared set of text: rows, documents, tokens and tokenizer.

    Args:
      manifest: Manifest of the set.
      folder: Its folder, local or a URL of an object store.

    Raises:
      InputError: A shard is missing.
    """
    lines = [f"{folder}: rows of {manifest.length} tokens, {_size(manifest, folder)}"]
    for split in manifest.splits:
        tokens, size = manifest.total(split, "tokens"), manifest.total(split, "bytes")
        lines.append(
            f"  {split:<6}{manifest.total(split, 'documents'):>11,} documents"
            f"{manifest.total(split, 'rows'):>12,} rows, {manifest.utilisation(split):.1%} full"
            f"{tokens:>15,} tokens, {size / max(tokens, 1):.2f} bytes each"
        )
    lines.append(f"  tokenizer of {manifest.vocab_size:,} ids in {folder}/{TOKENIZER}")
    if manifest.skipped:
        lines.append(f"  {manifest.skipped:,} documents were left out as unreadable")
    return "\n".join(lines)


def summary_of_images(manifest: ImageManifest, folder: str | Path) -> str:
    """Describes a prepared set of images: their shape, number, labels and captions.

    Args:
      manifest: Manifest of the set.
      folder: Its folder, local or a URL of an object store.

    Raises:
      InputError: A shard is missing.
    """
    shape = f"{manifest.height}x{manifest.width}x{manifest.channels}"
    lines = [f"{folder}: images of {shape}, {_size(manifest, folder)}"]
    for split in manifest.splits:
        cut = manifest.total(split, "cut")
        lines.append(
            f"  {split:<6}{manifest.total(split, 'rows'):>11,} images"
            + (f", {cut:,} captions cut to {manifest.length} tokens" if manifest.length else "")
        )
    if labels := manifest.labels:
        lines.append(f"  {len(labels):,} labels: {_first(labels, MOST_LABELS)}")
    if skipped := manifest.skipped:
        names = _first(skipped, MOST_NAMES)
        lines.append(f"  {len(skipped):,} could not be decoded and were left out: {names}")
    return "\n".join(lines)


def _size(manifest: SetManifest, folder: str | Path) -> str:
    """Returns the size and the number of the shards of all splits."""
    sizes: dict[str, int] = {}
    for split in manifest.splits:
        sizes |= file_sizes(folder, manifest, split)
    files = [shard.file for shards in manifest.splits.values() for shard in shards]
    return f"{sum(sizes[file] for file in files) / 1e6:,.1f} MB in {len(files)} shards"


def _first(names: tuple[str, ...] | list[str], most: int) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
