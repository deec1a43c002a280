import configparser
import re
import subprocess
import sys

PROGRAM = """
import sys
import jaxssl.losses
heavy = {"flax", "optax", "orbax", "tensorflow", "grain", "torch", "chex", "pyarrow"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
others = {name for name in sys.modules if name.startswith("jaxssl.") and ".losses" not in name}
print(sorted(others - {"jaxssl.help_text"}))  # which needs the standard library alone
"""

# An installation of jaxssl with --no-deps beside jax and jaxtyping: all its other requirements are missing.
ALONE = """
import importlib.abc
import sys

missing = set(sys.argv[1].split(","))

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
import jax
import jax.numpy as jnp
from jaxssl import losses

for name in losses.__all__:
    getattr(losses, name)
value, gradient = jax.value_and_grad(losses.nt_xent)(jnp.eye(2), jnp.eye(2), temperature=1.0)
print(round(float(value), 4), gradient.shape)
try:
    import flax
except ModuleNotFoundError:
    print("without flax")
"""
IMPORTED_AS = {
    "orbax-checkpoint": "orbax",
    "tensorflow-datasets": "tensorflow_datasets",
    "pillow": "PIL",
}
KEPT = {"jax", "jaxtyping", "numpy"}  # jax itself needs numpy


def test_losses_load_jax_and_jaxtyping_alone():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["[]", "[]"]


def requirements():
    """The names of the requirements in setup.cfg, as they are imported."""
    settings = configparser.ConfigParser()
    settings.read("setup.cfg", encoding="utf-8")
    lines = settings["options"]["install_requires"].split()
    names = [re.split(r"[<>=!~\[;]", line)[0] for line in lines]
    return {IMPORTED_AS.get(name, name) for name in names}


def test_the_losses_run_where_every_other_requirement_is_missing():
    others = requirements() - KEPT
    assert {"flax", "optax", "orbax", "PIL"} <= others
    result = subprocess.run(
        [sys.executable, "-c", ALONE, ",".join(sorted(others))], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split("\n")[:2] == ["0.5514 (2, 2)", "without flax"]
