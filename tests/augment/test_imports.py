import subprocess
import sys

PROGRAM = """
import sys
import jaxssl.augment
heavy = {"flax", "optax", "orbax", "tensorflow", "grain", "torch", "chex", "pyarrow"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
others = {name for name in sys.modules if name.startswith("jaxssl.") and ".augment" not in name}
print(sorted(others - {"jaxssl.help_text"}))  # which needs the standard library alone
"""


def test_augmentations_load_jax_and_jaxtyping_alone():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["[]", "[]"]
