"""SimCLR's loss in a project of your own: jaxssl.losses with jax alone, under jit and under pmap.

The network here is two matrices and the update is plain gradient descent, to be replaced by yours. The same
step runs on one device under `jit`, and on all devices under `pmap`, where `axis_name` makes loss and
gradient those of the whole batch. Both see the same views, so both print the same losses.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python docs/losses_alone.py
"""

import jax
import jax.numpy as jnp

from jaxssl import losses


def embed(params: dict[str, jax.Array], rows: jax.Array) -> jax.Array:
    """A small network, from rows `[batch, 8]` to embeddings `[batch, 8]`."""
    return jnp.tanh(rows @ params["first"]) @ params["second"]


def make_views(rows: jax.Array, key: jax.Array) -> jax.Array:
    """Two views of every row, which differ by their noise, `[batch, 2, 8]`."""
    return rows[:, None] + 0.1 * jax.random.normal(key, (len(rows), 2, rows.shape[1]))


def loss(params: dict[str, jax.Array], views: jax.Array, axis_name=None):
    """The NT-Xent loss of the two views of each row."""
    first, second = embed(params, views[:, 0]), embed(params, views[:, 1])
    return losses.nt_xent(first, second, temperature=0.2, block_size=8, axis_name=axis_name)


def step(params, views, axis_name=None):
    """One step of gradient descent: the new parameters, and the loss."""
    value, gradient = jax.value_and_grad(loss)(params, views, axis_name)
    if axis_name is not None:
        # The exact gradient of the loss of the whole batch; jaxssl.losses.axes says why.
        gradient = jax.lax.pmean(gradient, axis_name)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), value


def main() -> None:
    """Five steps of both, from the same parameters and views."""
    keys, devices = jax.random.split(jax.random.key(0), 3), jax.device_count()
    params = {
        name: jax.random.normal(k, (8, 8)) / 3
        for name, k in zip(("first", "second"), keys[:2], strict=True)
    }
    rows = jax.random.normal(keys[2], (8 * devices, 8))
    alone, values = params, []
    mapped = jax.pmap(lambda p, v: step(p, v, "i"), "i", in_axes=(None, 0), out_axes=None)
    for number in range(5):
        views = make_views(rows, jax.random.fold_in(keys[0], number))
        alone, value = jax.jit(step)(alone, views)
        params, pmapped = mapped(params, views.reshape(devices, 8, 2, 8))  # eight rows a device
        values.append(float(value))
        print(f"step {number}: jit {value:.4f}, pmap on {devices} devices {pmapped:.4f}")
        assert abs(value - pmapped) < 1e-4
    assert values[-1] < values[0]


if __name__ == "__main__":
    main()
