"""What a run writes for other tools by itself: at its end, and after numbers of words that were asked for.

    RUN/exported/               at the end: the best checkpoint; of a run on several hosts the last state
    RUN/exported/words_10M/     after 10 million words (`--export-at 10M`): the state of that step

Both are Hugging Face folders, as `jaxssl export` writes them. A run whose network no class of transformers
computes writes numpy arrays at its end. An export that fails is told and does not end the run.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxssl.errors import InputError, is_full_disk
from jaxssl.exporting.export import export_pretrained, facts_of, is_export
from jaxssl.exporting.row_content import row_content, steps_at
from jaxssl.interop.huggingface.folder_writing import export_of
from jaxssl.pretrained.load import Pretrained, load_pretrained
from jaxssl.runs.hosts import print_once
from jaxssl.runs.stored_runs import run_folder
from jaxssl.training.config import Pretraining, Reader
from jaxssl.training.step import TrainState

EXPORTED = "exported"  # folder of a run
LAST = "all"  # in the place of a number of words: the last step of a run on several hosts


class Exports:
    """The exports of a run after numbers of words.

    Args:
      config: Configuration of the run.
      rows: Reader of its training rows.

    Raises:
      InputError: `export_at` is set, and the rows hold no words, or no class of transformers computes what
        the network does.
    """

    def __init__(self, config: Pretraining, rows: Reader):
        self.config, self.rows = config, rows
        self.folder = run_folder(config.run) / EXPORTED
        self.due: dict[int, list[str]] = {}
        if config.export_at:
            self.due = self._due()
        if config.export and jax.process_count() > 1:
            self.due.setdefault(config.steps, []).append(LAST)

    def after(self, done: int, state: TrainState) -> None:
        """Writes what is due after a step, once: a folder that a run has written before it stopped stays.

        Args:
          done: Steps that the run has taken.
          state: State after them. Of a run on several hosts each of them must call this.
        """
        for words in self.due.get(done, ()):
            folder = self.folder if words == LAST else self.folder / f"words_{words}"
            if words == LAST or _first_host_says(not is_export(folder)):
                with _told(folder):
                    _write(self.config, self._gathered(state), folder)

    def _due(self) -> dict[int, list[str]]:
        config = self.config
        content = row_content(config)
        if not content.words:
            raise InputError(
                "export_at counts words, and these rows hold none; leave it out, and export checkpoints with "
                "jaxssl export"
            )
        export_of(config.objective, self.rows.spec)
        due = steps_at(config.export_at, content, self.rows.spec.batch)
        read = content.words * self.rows.spec.batch * config.steps
        if late := [words for step, names in due.items() if step > config.steps for words in names]:
            print_once(
                f"warning: the run reads about {read:,.0f} words and does not reach export_at "
                f"{' '.join(late)}; raise steps"
            )
        return due

    def _gathered(self, state: TrainState) -> Pretrained:
        """The model on this host, whatever hosts and devices hold it."""
        parts = (state.evaluated, state.carried)
        if jax.process_count() > 1:
            model, carried = multihost_utils.process_allgather(parts, tiled=True)
        else:
            model, carried = jax.device_get(parts)
        config, spec = self.config, self.rows.spec
        texts: Any = self.rows.tokenizer
        return Pretrained(config, config.objective, spec, texts, model, int(state.step), carried)


def export_best(config: Pretraining) -> None:
    """Writes the best checkpoint of a finished run to `exported` in its folder.

    Of a run on several hosts, `Exports` has written the last state already, which all hosts hold together.

    Args:
      config: Configuration of the run.
    """
    if jax.process_count() > 1 or not config.export:
        return
    run = run_folder(config.run)
    with _told(run / EXPORTED):
        pretrained = load_pretrained(run, carried=True, verify=False)
        _write(config, pretrained, run / EXPORTED)


def _write(config: Pretraining, pretrained: Pretrained, folder: Path) -> None:
    """Writes a Hugging Face folder, or numpy arrays where there is no class; on the first host alone."""
    if jax.process_index():
        return
    facts = dataclasses.replace(facts_of(run_folder(config.run), pretrained), run=str(config.run))
    try:
        done = export_pretrained(pretrained, folder, facts=facts)
    except InputError as error:
        print_once(f"exported as numpy arrays: {error}")
        done = export_pretrained(pretrained, folder, to="numpy", facts=facts)
    print_once(
        f"exported to {done.folder}: {done.what}; largest difference to the run {done.difference:.2g}\n\n"
        f"{done.loading}"
    )


def _first_host_says(value: bool) -> bool:
    """What the first host says, on all hosts: their folders may differ."""
    if jax.process_count() == 1:
        return value
    return bool(multihost_utils.broadcast_one_to_all(np.array(value)))


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Prints why an export has failed; the run itself goes on."""
    try:
        yield
    except (InputError, OSError, RuntimeError) as error:
        reason = "the disk is full" if is_full_disk(error) else error
        print_once(f"warning: {folder} was not written: {reason}")
