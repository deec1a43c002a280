"""SimCLR's loss in a project of your own: jaxssl.losses with jax alone, under jit and under pmap.

The network here is two matrices and the update is plain gradient descent, to be replaced by yours. The same
step runs on one device under `jit`, and on all devices under `pmap`, where `axis_name` makes loss and
gradient those of the whole batch.

    XLA_FLAGS=--xla_force_host_platform_device_count=4 python docs/losses_alone.py
"""

import jax
import jax.numpy as jnp

from jaxssl import losses


def embed(params: dict[str, jax.Array], rows: jax.Array) -> jax.Array:
    """A small network, from rows `[batch, 8]` to embeddings `[batch, 8]`."""
    return jnp.tanh(rows @ params["first"]) @ params["second"]


def loss(params: dict[str, jax.Array], rows: jax.Array, key: jax.Array, axis_name=None):
    """The NT-Xent loss of two views of each row, which differ by their noise."""
    noise = jax.random.normal(key, (2, *rows.shape))
    first, second = embed(params, rows + 0.1 * noise[0]), embed(params, rows + 0.1 * noise[1])
    return losses.nt_xent(first, second, temperature=0.2, block_size=8, axis_name=axis_name)


def step(params, rows, key, axis_name=None):
    """One step of gradient descent: the new parameters, and the loss."""
    value, gradient = jax.value_and_grad(loss)(params, rows, key, axis_name)
    if axis_name is not None:
        # The exact gradient of the loss of the whole batch; jaxssl.losses.axes says why.
        gradient = jax.lax.pmean(gradient, axis_name)
    return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), value


def main() -> None:
    """Five steps of both, from the same parameters and rows. Their views differ, so their losses do."""
    keys, devices = jax.random.split(jax.random.key(0), 3), jax.device_count()
    params = {
        name: jax.random.normal(k, (8, 8)) / 3
        for name, k in zip(("first", "second"), keys[:2], strict=True)
    }
    rows = jax.random.normal(keys[2], (8 * devices, 8))
    alone, values = params, []
    mapped = jax.pmap(lambda p, r, k: step(p, r, k, "i"), "i", in_axes=(None, 0, 0), out_axes=None)
    for number in range(5):
        key = jax.random.fold_in(keys[0], number)
        alone, value = jax.jit(step)(alone, rows, key)
        each = jax.random.split(key, devices)  # every device draws noise of its own
        params, pmapped = mapped(params, rows.reshape(devices, 8, 8), each)
        values.append((float(value), float(pmapped)))
        print(f"step {number}: jit {value:.4f}, pmap on {devices} devices {pmapped:.4f}")
    assert all(after < before for before, after in zip(values[0], values[-1], strict=True))


if __name__ == "__main__":
    main()
