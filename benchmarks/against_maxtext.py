"""How many cycles does MaxText's step of GPT-2 take, by the same account as ours? Compiled for TPU v5e.

    python3.12 -m venv maxtext && maxtext/bin/pip install 'maxtext[tpu]==0.2.5'
    maxtext/bin/python benchmarks/against_maxtext.py write program.txt remat_policy=minimal
    python -m benchmarks.against_maxtext read program.txt

`write` runs in MaxText's own environment: it compiles MaxText's training step for `v5e:2x2`, with its options
behind the file, and writes the optimised program. `read` runs in ours and prints the cycles that libtpu
estimates, our estimate of the Pallas kernels, and the collectives that nothing hides, as `jaxssl plan` does.
The model is that of `configs/gpt2_small.py`: 12 layers of 768, 12 heads, 1,024 learned positions, GELU, tied
head, 50,304 ids, 8 rows of 1,024 tokens a chip, parameters sharded over the four chips. Ours, with the same
libtpu and jax:

    jaxssl plan gpt2_small --length 1024 --vocab-size 50304 --microbatches 1 --data.batch 32 --mesh.fsdp 4 \\
        --on v5e:2x2
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

ON = "v5e:2x2"
MODEL = {
    "decoder_block": "gpt3",
    "base_emb_dim": 768,
    "base_num_query_heads": 12,
    "base_num_kv_heads": 12,
    "base_mlp_dim": 3072,
    "base_num_decoder_layers": 12,
    "head_dim": 64,
    "trainable_position_size": 1024,
    "mlp_activations": ["gelu"],
    "vocab_size": 50304,
    "enable_dropout": False,
    "logits_via_embedding": True,
    "normalize_embedding_logits": False,
    "logits_dot_in_fp32": False,
    "normalization_layer_epsilon": 1e-5,
    "use_iota_embed": True,
    "fused_qkv": True,
    "opt_type": "adamw",
    "max_target_length": 1024,
    "per_device_batch_size": 8,
    "attention": "flash",
    "dtype": "bfloat16",
    "weight_dtype": "float32",
    "ici_fsdp_parallelism": 4,
}
RUN = {
    "compile_topology": "v5e-4",
    "compile_topology_num_slices": 1,
    "run_name": "compiled",
    "base_output_directory": "unused",
    "dataset_type": "synthetic",
}


def write(file: str, options: list[str]) -> None:
    """Compiles MaxText's step and writes the optimised program to `file`; `options` are MaxText's own."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import maxtext
    from maxtext.trainers.pre_train import train_compile

    compile_step = train_compile.jit_and_compile

    def compile_and_write(*arguments: Any, **named: Any) -> Any:
        compiled = compile_step(*arguments, **named)
        Path(file).write_text(compiled.as_text(), encoding="utf-8")
        return compiled

    train_compile.jit_and_compile = compile_and_write
    base = Path(maxtext.__file__).parent / "configs" / "base.yml"
    settings = [f"{name}={value}" for name, value in {**RUN, **MODEL}.items()]
    train_compile.main(["train_compile", str(base), *settings, *options])


def read(file: str) -> None:
    """Prints the cycles of a program for `v5e:2x2` that `write` has written."""
    import jax

    from jaxssl.planning.collectives import collectives_of
    from jaxssl.planning.estimate import link_speed
    from jaxssl.planning.forecast import forecast
    from jaxssl.planning.program_text import read_program
    from jaxssl.planning.source_lines import SourceLines
    from jaxssl.planning.targets import read_target, target_devices

    jax.config.update("jax_platforms", "cpu")
    text = Path(file).read_text(encoding="utf-8")
    target = read_target(ON)
    devices = list(target_devices(target))
    program = read_program(text)
    seconds = sum(
        collective.sent / link_speed(collective.group, devices, target)
        for collective in collectives_of(program, len(devices))
        if not collective.is_overlapped
    )
    assert target.chip is not None
    found = forecast(program, SourceLines(text), target.chip, flops=1.0, exposed=seconds)
    assert found is not None
    hidden = seconds * (target.chip.clock or 0.0)
    print(
        f"{file}: {found.cycles / 1e6:.1f} M cycles, {found.kernels / 1e6:.1f} of them Pallas kernels and "
        f"{hidden / 1e6:.1f} collectives that nothing hides"
    )


def main() -> None:
    """Writes or reads a program."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["write", "read"])
    parser.add_argument("file", metavar="PROGRAM.txt")
    parser.add_argument("options", nargs="*", metavar="NAME=VALUE", help="options of MaxText")
    options = parser.parse_args()
    if options.what == "read":
        read(options.file)
    else:
        write(options.file, options.options)


if __name__ == "__main__":
    sys.exit(main())
