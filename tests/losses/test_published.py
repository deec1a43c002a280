"""Values and gradients against published implementations, where they are installed.

Each comparison states the factor between the two conventions; it is 1 where none is named. float32 on both
sides, 1e-5 relative: values, and the norms of differences of gradients.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxssl import losses
from tests.losses.topologies import relative_error

ROWS, DIM, VOCAB = 9, 5, 7
TOLERANCE = 1e-5


def embeddings(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(count)
    return [random.normal(size=(ROWS, DIM)).astype(np.float32) for _ in range(count)]


def token_example() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, targets with -100 where nothing is predicted, and weights that say the same."""
    random = np.random.default_rng(0)
    logits = 3 * random.normal(size=(2, ROWS, VOCAB)).astype(np.float32)
    targets = random.integers(0, VOCAB, (2, ROWS))
    targets[:, ::3] = -100
    return logits, targets, (targets >= 0).astype(np.float32)


def compare(
    ours: Callable[..., jax.Array],
    theirs: Callable[..., Any],
    arrays: list[np.ndarray],
    *,
    factor: float = 1.0,
    shift: float = 0.0,
) -> None:
    """ours = factor * theirs + shift, for numbers and gradients; theirs is of torch tensors."""
    torch = pytest.importorskip("torch")
    sides = [torch.tensor(array, requires_grad=True) for array in arrays]
    loss = theirs(*sides)
    loss.backward()
    expected = (
        factor * loss.item() + shift,
        tuple(factor * side.grad.numpy() for side in sides),
    )
    places = tuple(range(len(arrays)))
    result = jax.jit(jax.value_and_grad(ours, places))(*map(jnp.asarray, arrays))
    assert relative_error(result, expected) < TOLERANCE


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_language_losses_are_torch_cross_entropy(label_smoothing: float) -> None:
    F = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    logits, targets, weights = token_example()
    wanted = torch.tensor(targets)
    options = {"ignore_index": -100, "label_smoothing": label_smoothing}
    compare(
        lambda z: losses.masked_lm(z, targets, weights, label_smoothing=label_smoothing),
        lambda z: F.cross_entropy(z.flatten(0, 1), wanted.flatten(), **options),
        [logits],
    )
    compare(
        lambda z: losses.causal_lm(z, targets, weights, label_smoothing=label_smoothing),
        lambda z: F.cross_entropy(z[:, :-1].flatten(0, 1), wanted[:, 1:].flatten(), **options),
        [logits],
    )


def test_z_loss_and_next_sentence_are_torch_ops() -> None:
    F = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    logits, targets, weights = token_example()
    used, wanted = torch.tensor(weights) > 0, torch.tensor(targets)

    def with_z_loss(z: Any) -> Any:
        penalty = torch.logsumexp(z[used], dim=-1).square().mean()
        return F.cross_entropy(z[used], wanted[used]) + 0.01 * penalty

    compare(lambda z: losses.masked_lm(z, targets, weights, z_loss=0.01), with_z_loss, [logits])
    labels = np.arange(ROWS) % 2
    compare(
        lambda z: losses.next_sentence(z, labels),
        lambda z: F.cross_entropy(z, torch.tensor(labels)),
        [logits[0, :, :2]],
    )


@pytest.mark.parametrize("block_size", [None, 4])
def test_linear_cross_entropy_is_torch_linear_and_cross_entropy(block_size: int | None) -> None:
    F = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    hidden, kernel = embeddings(2)
    kernel, bias = kernel[:VOCAB], kernel[-1, :1].repeat(VOCAB) * np.arange(VOCAB, dtype=np.float32)
    _, targets, weights = token_example()
    targets, weights = targets[0], weights[0]

    def ours(hidden: Any, kernel: Any, bias: Any) -> jax.Array:
        options = {"bias": bias, "label_smoothing": 0.1, "block_size": block_size}
        return losses.linear_cross_entropy(hidden, kernel, targets, weights, **options)

    def theirs(hidden: Any, kernel: Any, bias: Any) -> Any:
        logits = F.linear(hidden, kernel, bias)
        return F.cross_entropy(logits, torch.tensor(targets), label_smoothing=0.1)

    compare(ours, theirs, [hidden, kernel, bias])


def test_replaced_tokens_are_torch_binary_cross_entropy() -> None:
    F = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    logits, targets, masked = token_example()
    replaced, valid = targets > 3, (np.arange(2 * ROWS).reshape(2, ROWS) % 5 > 0)
    scores = 2 * logits[..., 0]
    kept, truth = torch.tensor(valid), torch.tensor(replaced).float()
    binary = F.binary_cross_entropy_with_logits
    compare(
        lambda z: losses.replaced_token_detection(z, replaced, valid.astype(np.float32)),
        lambda z: binary(z[kept], truth[kept]),
        [scores],
    )
    compare(
        lambda z, s: losses.electra(z, s, targets, masked, replaced, valid),
        lambda z, s: (
            F.cross_entropy(z.flatten(0, 1), torch.tensor(targets).flatten())
            + 50 * binary(s[kept], truth[kept])
        ),
        [logits, scores],
    )


@pytest.mark.parametrize("block_size", [None, 4])
def test_contrastive_losses_are_torch_ops(block_size: int | None) -> None:
    """Temperature and bias are learned. torch means over n^2 pairs, ours over n rows: a factor n."""
    F = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    numbers = [np.float32(0.4), np.float32(-1.5)]

    def cosines(first: Any, second: Any) -> Any:
        return F.normalize(first, dim=1) @ F.normalize(second, dim=1).T

    def clip(first: Any, second: Any, temperature: Any, bias: Any) -> Any:
        logits, own = cosines(first, second) / temperature, torch.arange(ROWS)
        both = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
        return both / 2 + 0 * bias

    def siglip(first: Any, second: Any, temperature: Any, bias: Any) -> Any:
        logits = cosines(first, second) / temperature + bias
        return F.binary_cross_entropy_with_logits(logits, torch.eye(ROWS))

    def ours_clip(first: Any, second: Any, temperature: Any, _: Any) -> jax.Array:
        options = {"temperature": temperature, "block_size": block_size}
        return losses.info_nce(first, second, **options)

    def ours_siglip(first: Any, second: Any, temperature: Any, bias: Any) -> jax.Array:
        options = {"temperature": temperature, "bias": bias, "block_size": block_size}
        return losses.sigmoid_contrastive(first, second, **options)

    compare(ours_clip, clip, embeddings(2) + numbers)
    compare(ours_siglip, siglip, embeddings(2) + numbers, factor=ROWS)


def test_losses_of_rows_are_torch_ops() -> None:
    F = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    first, second, third = embeddings(3)
    fixed, mask = torch.tensor(second), np.arange(ROWS) % 3 > 0
    compare(
        lambda x: losses.byol(x, second),
        lambda x: (2 - 2 * F.cosine_similarity(x, fixed)).mean(),
        [first],
    )

    def word2vec(center: Any, context: Any, negative: Any) -> Any:
        positive = F.logsigmoid((center * context).sum(dim=1))
        return -(positive + F.logsigmoid(-(center * negative).sum(dim=1))).mean()

    compare(
        lambda x, y, z: losses.negative_sampling(x, y, z[:, None]), word2vec, [first, second, third]
    )
    patches = (fixed - fixed.mean(dim=1, keepdim=True)) / (
        fixed.var(dim=1, keepdim=True) + 1e-6
    ).sqrt()
    weights = mask.astype(np.float32)
    compare(
        lambda x: losses.masked_reconstruction(x, second, weights, normalize_target=True),
        lambda x: F.mse_loss(x[torch.tensor(mask)], patches[torch.tensor(mask)]),
        [first],
    )


@pytest.mark.parametrize("block_size", [None, 4])
def test_nt_xent_is_lightly(block_size: int | None) -> None:
    lightly = pytest.importorskip("lightly.loss")
    compare(
        lambda x, y: losses.nt_xent(x, y, temperature=0.3, block_size=block_size),
        lightly.NTXentLoss(temperature=0.3),
        embeddings(2),
    )


def test_losses_of_statistics_are_lightly() -> None:
    """Both divide by n in Barlow Twins, and by n - 1 in VICReg."""
    lightly = pytest.importorskip("lightly.loss")
    compare(losses.barlow_twins, lightly.BarlowTwinsLoss(lambda_param=5e-3), embeddings(2))
    compare(losses.vicreg, lightly.VICRegLoss(), embeddings(2))


def test_self_distillation_is_lightly() -> None:
    """BYOL there is -cos: ours is 2 + 2 x theirs. DINO's centre moves after the loss, as ours does."""
    lightly = pytest.importorskip("lightly.loss")
    torch = pytest.importorskip("torch")
    first, second, third = embeddings(3)
    fixed = torch.tensor(second)
    compare(
        lambda x: losses.byol(x, second),
        lambda x: lightly.NegativeCosineSimilarity()(x, fixed),
        [first],
        factor=2,
        shift=2,
    )
    theirs = lightly.DINOLoss(
        output_dim=DIM, student_temp=0.3, teacher_temp=0.2, center_momentum=0.8
    )
    teacher, center = np.stack([second, first]), third[0]
    theirs.center.copy_(torch.tensor(center))
    options = {"temperature": 0.3, "teacher_temperature": 0.2}
    compare(
        lambda *views: losses.dino(jnp.stack(views), teacher, center, **options),
        lambda *views: theirs(list(torch.tensor(teacher)), list(views)),
        [first, second, third],
    )
    moved = losses.dino_center(jnp.asarray(center), jnp.asarray(teacher), momentum=0.8)
    assert relative_error(moved, theirs.center.numpy().ravel()) < TOLERANCE


def same(ours: Callable[..., jax.Array], theirs: Callable[..., jax.Array], *arrays: Any) -> None:
    """As `compare`, for losses in JAX."""
    places = tuple(range(len(arrays)))
    ours, theirs = (jax.jit(jax.value_and_grad(f, places))(*arrays) for f in (ours, theirs))
    assert relative_error(ours, theirs) < TOLERANCE


@pytest.mark.parametrize("block_size", [None, 4])
def test_nt_xent_is_optax(block_size: int | None) -> None:
    labels = jnp.tile(jnp.arange(ROWS), 2)
    same(
        lambda x, y: losses.nt_xent(x, y, temperature=0.4, block_size=block_size),
        lambda x, y: optax.losses.ntxent(jnp.concatenate([x, y]), labels, temperature=0.4),
        *embeddings(2),
    )


def test_cross_entropies_are_optax() -> None:
    logits, targets, weights = token_example()
    smooth = optax.losses.smooth_labels(jax.nn.one_hot(targets, VOCAB), 0.1)

    def mean(each: jax.Array) -> jax.Array:
        return (each * weights).sum() / weights.sum()

    same(
        lambda z: losses.masked_lm(z, targets, weights, label_smoothing=0.1),
        lambda z: mean(optax.losses.softmax_cross_entropy(z, smooth)),
        logits,
    )
    replaced = targets > 3
    same(
        lambda z: losses.replaced_token_detection(z, replaced, weights),
        lambda z: mean(optax.losses.sigmoid_binary_cross_entropy(z, replaced)),
        logits[..., 0],
    )


def test_errors_of_rows_are_optax() -> None:
    """optax halves squares and gives 1 - cos: ours are twice theirs."""
    first, second = embeddings(2)
    same(
        lambda x: losses.byol(x, second),
        lambda x: 2 * optax.losses.cosine_distance(x, second).mean(),
        first,
    )
    same(
        lambda x: losses.masked_reconstruction(x, second, jnp.ones(ROWS)),
        lambda x: 2 * optax.losses.l2_loss(x, second).mean(),
        first,
    )
