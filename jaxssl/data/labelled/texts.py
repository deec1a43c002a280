"""Labelled texts for finetuning: splits and their labels, encoded and truncated.

The id of a label is its rank in the sorted labels of the training examples.
"""

import hashlib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from jaxssl.data.labelled.example_batches import (
    Encoded,
    bucket_lengths,
    choose_length,
    encode,
    truncate,
)
from jaxssl.data.labelled.tables import Labelled, Table, read_table
from jaxssl.data.labels import look, sorted_labels
from jaxssl.data.tokenizers.tokenizer import Tokenizer
from jaxssl.errors import InputError

SPLIT_SEED, DEV_SEED, SUBSET_SEED = 1, 2, 3  # keep the three random choices independent


def label_names(table: Table) -> tuple[str, ...]:
    """Returns the different labels of the training examples in `table`, in the order of their ids.

    Raises InputError as `sorted_labels` does.
    """
    return sorted_labels(table.labels, table.name)


def label_ids(table: Table, names: tuple[str, ...]) -> np.ndarray:
    """Returns the class id of each example, int32 `[examples]`.

    Args:
      table: The examples.
      names: The labels in the order of their ids, as from `label_names`.

    Raises:
      InputError: A label is not among `names`.
    """
    ids = {name: i for i, name in enumerate(names)}
    unknown = [(label, i) for i, label in enumerate(table.labels) if label not in ids]
    if unknown:
        label, example = unknown[0]
        known = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        twins = [ascii(name) for name in names if look(name) == look(label)]
        twin = f", {ascii(label)}, which looks like {twins[0]}," if twins else ""
        raise InputError(
            f"{table.name}: label {label!r}{twin} of example {example + 1} (and of {len(unknown) - 1} "
            f"more) does not occur in the training examples, whose labels are {known}; add such examples "
            "to train, or remove them here"
        )
    return np.array([ids[label] for label in table.labels], np.int32)


def read_splits(config: Labelled) -> dict[str, Table]:
    """Reads all splits.

    Fractions (`config.dev`, `config.test`) are drawn at random from the training examples, always
    the same ones. One example of every class stays in training.

    Args:
      config: The files, their columns and the fractions.

    Returns:
      The tables by name: "train", "dev" and, if there is one, "test".

    Raises:
      InputError: A file cannot be read, or dev and test leave no training examples.
    """
    table = read_table(config.train, "train", config)
    order = _order_of_shares(table)
    splits, taken = {}, 0
    for name, where in (("dev", config.dev), ("test", config.test)):
        if isinstance(where, str) and where:
            splits[name] = read_table(where, name, config, table.markers)
        elif where:
            count = max(round(float(where) * len(table)), 1)
            ids = np.sort(order[taken : taken + count])
            splits[name] = table.take(ids, f"the {name} share of {table.name}")
            taken += count
    if taken >= len(table):
        raise InputError(
            f"{table.name} has {len(table)} examples, which dev={config.dev} and test={config.test} "
            "use up; lower them, or give files"
        )
    rest = table.take(np.sort(order[taken:]), table.name)
    splits["train"] = replace(rest, left_out=table.left_out, markers=table.markers)
    return splits


def _order_of_shares(table: Table) -> np.ndarray:
    """Returns the examples in random order, `[examples]`, with one of every class at the end.

    Shares are taken from the beginning, so that every class keeps an example to train on.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(table))
    last = {table.labels[example]: position for position, example in enumerate(order)}
    is_last = np.isin(np.arange(len(order)), list(last.values()))
    return np.concatenate([order[~is_last], order[is_last]])


@dataclass(frozen=True)
class LabelledData:
    """All splits of the labelled texts: read, encoded and truncated."""

    config: Labelled
    """The configuration that they were read with."""
    names: tuple[str, ...]
    """Labels of the classes in the order of their ids."""
    tables: dict[str, Table]
    """Texts and labels of each split, by the split's name."""
    encoded: dict[str, Encoded]
    """Token ids of each split, truncated to the longest of `lengths`."""
    truncated: dict[str, int]
    """Number of examples of each split that lost tokens by truncation."""
    lengths: tuple[int, ...]
    """Lengths in tokens to which batches are padded, in ascending order."""
    fingerprint: str
    """SHA-256, in hexadecimal, of all texts and labels."""

    def train_ids(self, seed: int) -> np.ndarray:
        """Returns the positions of the training examples used with `seed`, `[examples]`, ascending."""
        count, wanted = len(self.tables["train"]), self.config.train_examples
        if wanted is None:
            return np.arange(count)
        if self.config.subset == "first":
            return np.arange(wanted)
        random = np.random.default_rng([SUBSET_SEED, seed])
        return np.sort(random.choice(count, wanted, replace=False))


def open_labelled(config: Labelled, tokenizer: Tokenizer, max_length: int) -> LabelledData:
    """Reads, encodes and truncates all splits.

    Args:
      config: The files, their columns and the lengths.
      tokenizer: Tokenizer of the network.
      max_length: Length of the longest row that the network accepts, in tokens.

    Returns:
      The data of all splits.

    Raises:
      InputError: A file cannot be read, labels do not fit together, `config.length` exceeds
        `max_length`, or `config` asks for more examples than there are.
    """
    if config.length is not None and not 4 <= config.length <= max_length:
        raise InputError(
            f"length {config.length} must be from 4 to the checkpoint's max_length {max_length}; set "
            f"length to {max_length} or less"
        )
    tables = read_splits(config)
    names = label_names(tables["train"])
    for split, wanted in (("train", config.train_examples), ("dev", config.dev_examples)):
        if wanted is not None and wanted > len(tables[split]):
            raise InputError(
                f"{split}_examples={wanted} exceeds the {len(tables[split])} examples of "
                f"{tables[split].name}; lower it, or set it to None to use all"
            )
    if config.dev_examples is not None:
        random, count = np.random.default_rng(DEV_SEED), len(tables["dev"])
        chosen = np.sort(random.choice(count, config.dev_examples, replace=False))
        tables["dev"] = tables["dev"].take(chosen, tables["dev"].name)
    whole = {
        split: encode(tokenizer, table.first, table.second, label_ids(table, names))
        for split, table in tables.items()
    }
    length = config.length or choose_length(list(whole.values()), config.cover, max_length)
    pieces = {split: truncate(part, length) for split, part in whole.items()}
    sizes = pieces["train"][0].sizes
    return LabelledData(
        config=config,
        names=names,
        tables=tables,
        encoded={split: part for split, (part, _) in pieces.items()},
        truncated={split: count for split, (_, count) in pieces.items()},
        lengths=bucket_lengths(sizes, length, config.buckets),
        fingerprint=_fingerprint(tables),
    )


def class_shares(data: LabelledData, split: str) -> dict[str, float]:
    """Returns the fraction of the examples of a split that each class has.

    The largest is the accuracy of always predicting the most frequent class.

    Args:
      data: The labelled texts.
      split: Name of the split.

    Returns:
      The fraction of each class by its label, in the order of the ids.
    """
    counts, total = Counter(data.tables[split].labels), len(data.tables[split])
    return {name: counts[name] / total for name in data.names}


def _fingerprint(tables: dict[str, Table]) -> str:
    """Returns the SHA-256 over the texts and labels of all splits."""
    total = hashlib.sha256()
    for split in sorted(tables):
        table = tables[split]
        for part in (table.first, table.second or [], table.labels):
            total.update(f"{split} {len(part)}\0".encode())
            total.update("\0".join(part).encode("utf8", "surrogatepass"))
    return total.hexdigest()
