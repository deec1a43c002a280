"""Cycles of five small steps on v5e:2x2, by libtpu: a change that makes one slower is seen without hardware.

It runs where libtpu is installed, or where JAXSSL_TEST_LIBTPU names a folder that has it (`pip install
--target FOLDER libtpu==0.0.42.1`). The numbers are of jax 0.10.2 and that libtpu; others are skipped.
"""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

JAX, LIBTPU = "0.10.2", "0.0.42.1"
FOLDER = os.environ.get("JAXSSL_TEST_LIBTPU", "")
# Rows of 8,192 tokens, for which the attention kernel needs most of the chip's memory
LONG = (
    "--mesh.fsdp 1 --data.batch 4 --vocab-size 1024 --length 8192 --objective.encoder.max-length 8192 "
    "--microbatches 1 --objective.encoder.depth 3"
)
# Recipe, flags, millions of cycles
ROWS = "--mesh.fsdp 1 --data.batch 32"
TEXT = f"{ROWS} --vocab-size 1024 --length 256 --microbatches 1"
STEPS = [
    ("bert_base", f"{TEXT} --objective.encoder.depth 2", 5.391),
    ("gpt2_small", f"{TEXT} --objective.decoder.depth 2", 4.718),
    ("modernbert_base", f"{TEXT} --objective.encoder.depth 3", 5.292),
    ("mae_vitb16", f"{ROWS} --objective.encoder.blocks.depth 2 --objective.decoder.depth 1", 4.67),
    ("modernbert_base", LONG, 43.56),
]


def version_of_libtpu() -> str:
    paths = [FOLDER] if FOLDER else sys.path
    found = importlib.metadata.distributions(name="libtpu", path=paths)
    return next((distribution.version for distribution in found), "")


@pytest.mark.slow
@pytest.mark.skipif(
    (jax.__version__, version_of_libtpu()) != (JAX, LIBTPU), reason=f"libtpu {LIBTPU}, jax {JAX}"
)
@pytest.mark.parametrize(
    ("recipe", "flags", "millions"), STEPS, ids=["bert", "gpt2", "modernbert", "mae", "long rows"]
)
def test_a_step_takes_no_more_cycles(recipe, flags, millions, tmp_path):
    """To 2 %, in either direction: what became faster gets its new number here."""
    file = tmp_path / "plan.json"
    folders = [str(Path.cwd()), FOLDER, os.environ.get("PYTHONPATH", "")]
    command = [sys.executable, "-m", "jaxssl", "plan", recipe, "--on", "v5e:2x2", "--json", file]
    subprocess.run(
        [*command, *flags.split()],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))},
        check=True,
        capture_output=True,
        timeout=900,
    )
    cycles = json.loads(file.read_text())["forecast"]["cycles"]
    assert cycles / 1e6 == pytest.approx(millions, rel=0.02)
