"""Small faults of the step, the evaluation, checkpoints and losses, each of which the tests have to find.

    python tests/mutants.py              all of them, two at a time: about eight minutes on two cores
    python tests/mutants.py average      those whose name contains a word

Each mutant replaces one piece of text in a copy of the package and runs the tests that should fail. It
survives if they pass; then this script ends with exit code 1. A text that does not stand exactly once in its
file is an error, too: the mutant has to be written anew.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("jaxssl", "tests", "configs", "docs")
FILES = ("train.py", "finetune.py", "setup.cfg", "pyproject.toml")
WORKERS = 2


class Mutant(NamedTuple):
    """One fault: the text `old` of a file becomes `new`, and one of the tests must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


STEP = "tests/training/test_step.py"
MUTANTS = [
    Mutant(
        "microbatches: only the last one counts",
        "jaxssl/training/gradients.py",
        "lambda a, b: a + b.astype(a.dtype), gradients, grown",
        "lambda a, b: b.astype(a.dtype), gradients, grown",
        f"{STEP}::test_microbatches_and_devices_do_not_change_the_gradient",
    ),
    Mutant(
        "microbatches: rows are lost",
        "jaxssl/training/gradients.py",
        "    parts = jax.tree.map(split, examples)\n",
        "    parts = jax.tree.map(lambda array: split(array).at[-1].set(split(array)[0]), examples)\n",
        f"{STEP}::test_microbatches_and_devices_do_not_change_the_gradient",
    ),
    Mutant(
        "step: the same key at every step",
        "jaxssl/training/step.py",
        "jax.random.fold_in(jax.random.key(config.seed + 1), state.step)",
        "jax.random.fold_in(jax.random.key(config.seed + 1), 0)",
        f"{STEP}::test_every_step_draws_anew_and_the_same_in_every_run",
    ),
    Mutant(
        "step: the seed is ignored",
        "jaxssl/training/step.py",
        "jax.random.fold_in(jax.random.key(config.seed + 1), state.step)",
        "jax.random.fold_in(jax.random.key(1), state.step)",
        f"{STEP}::test_every_step_draws_anew_and_the_same_in_every_run",
    ),
    Mutant(
        "step: the average has the weights exchanged",
        "jaxssl/training/step.py",
        "moving_average(average, model, kept)",
        "moving_average(model, average, kept)",
        f"{STEP}::test_the_average_and_the_objectives_state_follow_the_new_parameters",
    ),
    Mutant(
        "step: a teacher follows the old parameters",
        "jaxssl/training/step.py",
        "objective.follow(carried, model, state.step)",
        "objective.follow(carried, state.model, state.step)",
        f"{STEP}::test_the_average_and_the_objectives_state_follow_the_new_parameters",
    ),
    Mutant(
        "evaluation: with dropout",
        "jaxssl/training/step.py",
        "objective.loss(model, carried, examples, None)",
        "objective.loss(model, carried, examples, key)",
        f"{STEP}::test_evaluation_drops_nothing_and_corrupts_a_batch_as_before",
    ),
    Mutant(
        "evaluation: every batch is corrupted alike",
        "jaxssl/training/step.py",
        "objective.corrupt(batch, jax.random.fold_in(key, number))",
        "objective.corrupt(batch, key)",
        f"{STEP}::test_evaluation_drops_nothing_and_corrupts_a_batch_as_before",
    ),
    Mutant(
        "evaluation: the raw parameters",
        "jaxssl/training/evaluation.py",
        "state.evaluated,",
        "state.model,",
        "tests/training/test_evaluation.py",
    ),
    Mutant(
        "evaluation: one batch only",
        "jaxssl/training/evaluation.py",
        "range(min(batches, held_out.batches))",
        "range(1)",
        "tests/training/test_evaluation.py",
    ),
    Mutant(
        "metrics: averages of averages",
        "jaxssl/training/metrics.py",
        "    return {name: metric.number() for name, metric in sums.items()}\n",
        "    return {name: float(np.mean([part[name].number() for part in parts])) for name in sums}\n",
        "tests/training/test_metrics.py",
    ),
    Mutant(
        "checkpoint: the average is ignored",
        "jaxssl/pretrained/load.py",
        '"average" if averaged and config.average is not None else "model"',
        '"model"',
        "tests/pretrained/test_load.py",
    ),
    Mutant(
        "checkpoint: the latest is taken for the best",
        "jaxssl/runs/checkpoint.py",
        "            return self.latest_step()\n        return best\n",
        "            return self.latest_step()\n        return self.latest_step()\n",
        "tests/runs/test_checkpoint.py",
    ),
    Mutant(
        "checkpoint: the worst is kept for the best",
        "jaxssl/runs/checkpoint.py",
        "float(value if self.highest else -value)",
        "float(-value if self.highest else value)",
        "tests/runs/test_checkpoint.py",
    ),
    Mutant(
        "weights: a batch is not normalised",
        "jaxssl/objectives/batches/batch.py",
        "return real / jnp.maximum(total, 1.0), total",
        "return real / real.size, total",
        "tests/objectives/test_masked_lm.py tests/objectives/batches/test_batch.py",
    ),
]
LOSSES = [
    Mutant(
        "nt_xent: a row is its own negative",
        "jaxssl/losses/dense_pairs.py",
        "is_pair = is_used[None] & (jnp.arange(2 * pairs)[None] != me[:, None])",
        "is_pair = is_used[None] & (jnp.arange(2 * pairs)[None] != -1 * me[:, None])",
        "tests/losses/test_contrastive.py::test_by_hand",
    ),
    Mutant(
        "nt_xent: one view only",
        "jaxssl/losses/dense_pairs.py",
        "return (losses(first, own, own + pairs) + losses(second, own + pairs, own)) / 2",
        "return losses(first, own, own + pairs)",
        "tests/losses/test_contrastive.py",
    ),
    Mutant(
        "info_nce: pairs of weight 0 are negatives",
        "jaxssl/losses/dense_pairs.py",
        "    is_used = (gather(weights) > 0)[None]\n",
        "    is_used = (gather(weights) >= 0)[None]\n",
        "tests/losses/test_contrastive.py::test_weight_zero_is_as_if_the_pair_were_not_there",
    ),
    Mutant(
        "cross entropy: divided by the number of positions",
        "jaxssl/losses/softmax_cross_entropy.py",
        "total, weight = sum_weighted(losses, weights), weights.astype(losses.dtype).sum()",
        "total, weight = sum_weighted(losses, weights), jnp.asarray(weights.size, losses.dtype)",
        "tests/losses/test_softmax_cross_entropy.py::test_constants_by_hand",
    ),
    Mutant(
        "cross entropy: label smoothing has the shares exchanged",
        "jaxssl/losses/softmax_cross_entropy.py",
        "(1 - label_smoothing) * losses + label_smoothing * uniform",
        "label_smoothing * losses + (1 - label_smoothing) * uniform",
        "tests/losses/test_softmax_cross_entropy.py::test_is_the_loop",
    ),
    Mutant(
        "weights: the mean is that of this device",
        "jaxssl/losses/weighting.py",
        "    total, weight = sum_over(axis_name, (total, weight))\n",
        "    total, weight = sum_over(axis_name, total), weight\n",
        "tests/losses/test_squared_error.py::test_a_sharded_batch_is_the_whole_one",
    ),
    Mutant(
        "electra: the discriminator's weight is left out",
        "jaxssl/losses/replaced_tokens.py",
        "return generator + discriminator_weight * discriminator",
        "return generator + discriminator",
        "tests/losses/test_replaced_tokens.py::test_electra_is_the_sum_of_its_terms",
    ),
    Mutant(
        "barlow_twins: the redundancy term has no weight",
        "jaxssl/losses/decorrelation.py",
        "off_diagonal_weight * _off_diagonal(correlation)",
        "_off_diagonal(correlation)",
        "tests/losses/test_decorrelation.py",
    ),
]


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    chosen = [mutant for mutant in MUTANTS + LOSSES if wanted in mutant.name]
    check_texts(chosen)
    folders: Queue[Path] = Queue()
    with tempfile.TemporaryDirectory() as base:
        for number in range(WORKERS):
            folders.put(copy_into(Path(base) / str(number)))
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(Path(base) / "compiled")}

        def tried(mutant: Mutant) -> bool:
            folder = folders.get()
            try:
                return is_found(mutant, folder, environment)
            finally:
                folders.put(folder)

        with ThreadPoolExecutor(WORKERS) as pool:
            found = list(pool.map(tried, chosen))
    survivors = [mutant.name for mutant, ok in zip(chosen, found, strict=True) if not ok]
    print(f"{len(chosen)} mutants, {len(survivors)} survived {survivors or ''}".rstrip())
    sys.exit(bool(survivors))


def check_texts(mutants: list[Mutant]) -> None:
    """Ends the script where the text of a mutant does not stand exactly once in its file."""
    for mutant in mutants:
        count = (ROOT / mutant.file).read_text(encoding="utf-8").count(mutant.old)
        if count != 1:
            sys.exit(
                f"{mutant.name}: its text stands {count} times in {mutant.file}; write it anew"
            )


def copy_into(folder: Path) -> Path:
    folder.mkdir()
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    return folder


def is_found(mutant: Mutant, folder: Path, environment: dict[str, str]) -> bool:
    """Runs the tests of a mutant in a folder of its own; whether they fail."""
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    began = time.monotonic()
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-m", "slow or not slow"]
    try:
        done = subprocess.run(
            [*command, *mutant.tests.split()],
            cwd=folder,
            env={**environment, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        path.write_text(text, encoding="utf-8")
    seconds = time.monotonic() - began
    if done.returncode not in (0, 1):  # 1: tests failed; others: they could not be run
        print(done.stdout[-2000:])
        raise RuntimeError(f"{mutant.name}: pytest ended with code {done.returncode}")
    is_killed = done.returncode == 1
    print(f"{'found' if is_killed else 'SURVIVED'}  {seconds:5.1f} s  {mutant.name}", flush=True)
    return is_killed


if __name__ == "__main__":
    main()
