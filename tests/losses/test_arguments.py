"""What the losses refuse: argument, value, limit and way out are named; traced values are let through."""

import inspect

import jax
import jax.numpy as jnp
import pytest

from jaxssl import losses
from jaxssl.losses import arguments

ROWS, SEEDS = jnp.ones((4, 3)), jax.random.split(jax.random.key(0), 4)
WRONG = {
    "a temperature by position": (
        lambda: losses.nt_xent(ROWS, ROWS, 0.1),
        r"weights=0.1 must be an array of shape \(4,\).*first \(4, 3\).*temperature=0.1",
    ),
    "a list": (lambda: losses.nt_xent([1.0], ROWS), r"first of type list.*jnp.asarray\(first\)"),
    "integers": (
        lambda: losses.info_nce(jnp.ones((4, 3), int), ROWS),
        r"queries of type int32 must be floating-point",
    ),
    "negative weights": (
        lambda: losses.byol(ROWS, ROWS, jnp.array([1.0, -2.0, 0.0, 1.0])),
        "weights hold -2.0",
    ),
    "weights that are NaN": (
        lambda: losses.vicreg(ROWS, ROWS, jnp.full(4, jnp.nan)),
        "weights hold nan",
    ),
    "infinite weights": (
        lambda: losses.mean_squared_error(ROWS, ROWS, jnp.full(4, jnp.inf)),
        "weights hold inf",
    ),
    "weights of another shape": (
        lambda: losses.negative_sampling(ROWS, ROWS, ROWS[:, None], jnp.ones((4, 1))),
        r"weights of shape \(4, 1\) must be \(4,\)",
    ),
    "one-hot targets": (
        lambda: losses.cross_entropy(ROWS, jnp.eye(4, 3)),
        r"targets of shape \(4, 3\) look one-hot.*targets.argmax\(axis=-1\)",
    ),
    "fractional targets": (
        lambda: losses.masked_lm(ROWS, jnp.ones(4)),
        "targets of type float32 must be integers",
    ),
    "targets of PyTorch": (
        lambda: losses.masked_lm(ROWS, jnp.array([0, -100, 2, 1]), jnp.ones(4)),
        "targets hold -100 where the weight is above 0, and must be 0 to 2.*ignore_index=-100",
    ),
    "labels that are no classes": (
        lambda: losses.next_sentence(jnp.ones((4, 2)), jnp.array([0, 1, 2, 0])),
        "targets hold 2 where",
    ),
    "an infinite temperature": (
        lambda: losses.info_nce(ROWS, ROWS, temperature=float("inf")),
        "temperature=inf must be above 0",
    ),
    "several temperatures": (
        lambda: losses.nt_xent(ROWS, ROWS, temperature=jnp.ones(4)),
        r"temperature of shape \(4,\) must be a single number",
    ),
    "a temperature in words": (
        lambda: losses.dino(ROWS[None].repeat(2, 0), ROWS[None], ROWS[0], temperature="low"),
        "temperature='low' must be a single number",
    ),
    "a teacher's temperature of 0": (
        lambda: losses.dino(ROWS[None].repeat(2, 0), ROWS[None], ROWS[0], teacher_temperature=0),
        "teacher_temperature=0 must be above 0",
    ),
    "a momentum beyond 1": (
        lambda: losses.dino_center(ROWS[0], ROWS[None], momentum=1.5),
        "momentum=1.5 must be between 0 and 1",
    ),
    "a negative factor": (
        lambda: losses.barlow_twins(ROWS, ROWS, off_diagonal_weight=-1.0),
        "off_diagonal_weight=-1.0 must be at least 0",
    ),
    "a negative z-loss": (
        lambda: losses.masked_lm(ROWS, jnp.zeros(4, int), z_loss=-1e-4),
        "z_loss=-0.0001 must be at least 0",
    ),
    "a bias that is NaN": (
        lambda: losses.sigmoid_contrastive(ROWS, ROWS, temperature=0.1, bias=float("nan")),
        "bias=nan must be a finite number",
    ),
    "half a block": (
        lambda: losses.nt_xent(ROWS, ROWS, block_size=2.5),
        "block_size=2.5 must be an integer of at least 1",
    ),
    "no microbatch": (
        lambda: losses.cached_gradients(None, None, ROWS, ROWS, microbatches=0),
        "microbatches=0 must be an integer of at least 1",
    ),
    "marks that are no truth values": (
        lambda: losses.replaced_token_detection(ROWS, ROWS, jnp.ones((4, 3))),
        "replaced of type float32 must be bool: pass replaced != 0",
    ),
    "a kernel the wrong way": (
        lambda: losses.linear_cross_entropy(ROWS, ROWS[:2].T, jnp.zeros(4, int)),
        r"hidden \(4, 3\) and kernel \(3, 2\).*kernel.T",
    ),
    "a target that is complex": (
        lambda: losses.masked_reconstruction(ROWS, ROWS + 1j, jnp.ones(4)),
        "target of type complex64 must be real",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_meant_is_refused(name):
    call, message = WRONG[name]
    with pytest.raises(ValueError, match=message):
        call()


def test_traced_values_are_let_through_and_known_ones_are_not():
    def loss(weights, temperature):
        return losses.nt_xent(ROWS, ROWS, weights, temperature=temperature)

    assert jax.eval_shape(loss, -jnp.ones(4), 0.0).shape == ()
    negative = -jnp.ones(4)
    with pytest.raises(ValueError, match="weights hold -1.0"):  # a constant of the program
        jax.eval_shape(lambda t: loss(negative, t), 0.1)
    with pytest.raises(ValueError, match="temperature=0 must"):
        jax.eval_shape(lambda w: loss(w, 0), jnp.ones(4))


def test_every_loss_refuses_weights_that_are_a_number():
    arrays = {"targets": jnp.zeros(4, int), "labels": jnp.zeros(4, int), "logits": ROWS[:, :2]}
    arrays |= {"tokens": jnp.zeros(4, int), "negatives": ROWS[:, None], "kernel": ROWS}
    arrays |= {"replaced": ROWS[:, :2] > 0, "center": ROWS[0], "student": ROWS[None].repeat(2, 0)}
    arrays |= {"teacher": ROWS[None]}
    options = {"temperature": 0.1, "bias": 0.0}
    for name in losses.__all__:
        function = getattr(losses, name)
        parameters = inspect.signature(function).parameters
        if "weights" not in parameters:
            continue
        given = {n: arrays.get(n, ROWS) for n, p in parameters.items() if p.default is p.empty}
        given |= {"targets": ROWS} if name.startswith("byol") else {}
        given |= {"keys": SEEDS} if name.endswith("samples") else {}
        given |= {n: options[n] for n in given if n in options} | {"weights": 0.5}
        with pytest.raises(ValueError, match=r"weights=0.5 must be an array"):
            function(**given)


def test_what_other_hosts_hold_is_not_read():
    assert arguments.is_known(1.0)
    assert arguments.is_known(jnp.ones(2))
    assert not jax.jit(lambda x: jnp.array(arguments.is_known(x)))(jnp.ones(2))
