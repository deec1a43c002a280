"""Plan a run on devices that are not here: memory, collectives, time, and what cannot work.

The real step of train.py is compiled for the devices; nothing runs, and no prepared rows are needed.
Flags behind the options change fields of the recipe, as with train.py.

  jaxssl plan configs/bert_base.py --on v5e:16x16
  jaxssl plan configs/gpt2_small.py --on v5p:8x8x8 --slices 2 --length 1024 --mesh.fsdp 16
  jaxssl plan configs/bert_base.py --on h100:8x8 --json plan.json     8 nodes of 8 GPUs
  jaxssl plan configs/bert_tiny.py --on cpu:8                         devices simulated here
  jaxssl plan IMAGES.py --on v5e:16x16 --size 256                     a recipe with data=Images(…)

TPUs need libtpu (pip install 'jaxssl[tpu]'), GPUs JAX's CUDA plugin (pip install 'jaxssl[cuda]'): no
TPU, no GPU. Without them the plan counts what shapes tell.
"""

import argparse
from pathlib import Path

import jax

from jaxssl.data.stores.json_files import write_json
from jaxssl.planning.page import as_json, as_text
from jaxssl.planning.plan import Plan, largest_microbatch, make_plan
from jaxssl.planning.targets import EXAMPLES, known_targets, read_target
from jaxssl.tools.prepare_images import size_of
from jaxssl.training.config import Pretraining, read_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `jaxssl plan`."""
    parser.add_argument("config", metavar="CONFIG", help="a recipe, e.g. configs/bert_base.py")
    parser.add_argument(
        "--on",
        required=True,
        metavar="CHIP:SHAPE",
        help=f"devices: {EXAMPLES}; chips: {known_targets()}",
    )
    parser.add_argument(
        "--slices", type=int, default=1, help="of TPUs, over the data center's network (default: 1)"
    )
    parser.add_argument(
        "--length", type=int, help="tokens of a row, or a caption (default: of the prepared set)"
    )
    parser.add_argument("--vocab-size", type=int, help="of the tokenizer (default: likewise)")
    parser.add_argument(
        "--size", metavar="PIXELS", help="of images: a square, or HEIGHTxWIDTH (default: likewise)"
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="find the largest microbatch that fits, by a few compilations",
    )
    parser.add_argument("--json", metavar="FILE", help="write the plan there, too")


def run(options: argparse.Namespace) -> Plan:
    """Prints the plan. Raises InputError, one line with the reason, for what cannot work."""
    jax.config.update("jax_platforms", "cpu")  # asks for no accelerator, also where there is one
    config = read_config(
        Pretraining, __doc__ or "", ["--config", options.config, *options.config_flags]
    )
    target = read_target(options.on, options.slices)
    rows = {"length": options.length, "vocab_size": options.vocab_size}
    rows |= {"size": None if options.size is None else size_of(options.size)}
    if options.search:
        config = largest_microbatch(config, target, **rows)
        print(f"the fewest microbatches that fit: {config.microbatches}")
    plan = make_plan(config, target, **rows)
    print(as_text(plan, options.config))
    if options.json:
        path = Path(options.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, as_json(plan, options.config))
    return plan
