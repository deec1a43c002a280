"""Pretrain a model from text or images, as a recipe says.

  jaxssl train quickstart                                             a small BERT in five minutes
  jaxssl train bert_small --data.path prepared/novels --run runs/novels
  jaxssl train my_recipe.py --steps 2000 --optimizer.peak 1e-4
  jaxssl train quickstart --help                                      all fields that flags can change

The run's folder is runs/RECIPE, or the one that --run names. The same command resumes a run that was stopped.
"""

import argparse

from jaxssl.tools.pages import add_recipe_arguments, run_recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `jaxssl train` to `parser`."""
    add_recipe_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Runs train.py with the recipe and the flags of `options`."""
    run_recipe("train", options)
