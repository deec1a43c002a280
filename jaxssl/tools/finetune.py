"""Finetune a pretrained network on labelled texts, as a recipe says.

  jaxssl finetune finetune_quickstart                                 after `jaxssl train quickstart`
  jaxssl finetune finetune_text --task.checkpoint runs/novels --data.train train.tsv
  jaxssl finetune finetune_text --task.checkpoint runs/novels --data.train train.tsv --from-scratch
  jaxssl finetune finetune_text --help                                all fields that flags can change

The run's folder is runs/RECIPE, or the one that --run names. The same command resumes a run that was stopped.
"""

import argparse

from jaxssl.tools.pages import add_recipe_arguments, run_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl finetune` to `parser`."""
    add_recipe_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Runs finetune.py with the recipe and the flags of `options`."""
    run_recipe("finetune", options)
