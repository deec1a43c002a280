"""Fills pytrees from nested dicts by the paths of the leaves: `encoder/layers/attention/query/kernel`.

On disk a training state is a plain nested dict with these paths, so that checkpoints outlive the
classes that made them. `jaxssl.models.plain.to_dict` makes the nested dict.
"""

from typing import Any

import jax

from jaxssl.sharding.layout import path_of

Tree = Any


def from_nested(template: Tree, nested: dict[str, Any]) -> Tree:
    """Fills the structure of `template` with the leaves of `nested`.

    Args:
      template: Pytree whose structure the result has; its leaves are not used.
      nested: Nested dict of the leaves. Leaves that `template` does not have are left out.

    Returns:
      A pytree like `template`, with the leaves of `nested` at the same paths.

    Raises:
      KeyError: A path of `template` is missing in `nested`; the error names it.
    """

    def find(keys: Any, _: Any) -> Any:
        node: Any = nested
        for name in path_of(keys).split("/"):
            if not isinstance(node, dict) or name not in node:
                raise KeyError(path_of(keys))
            node = node[name]
        return node

    return jax.tree_util.tree_map_with_path(find, template)


def differences(template: Tree, nested: dict[str, Any]) -> list[str]:
    """Returns the reasons why `nested` does not fit `template`, sorted, one line each; no line if it fits.

    Args:
      template: Pytree of arrays or shapes that is wanted.
      nested: Nested dict of arrays or shapes that was found.

    Returns:
      A line for each path that is missing, superfluous, or has another shape. Dtypes are not compared.
    """
    wanted = {
        path_of(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(template)[0]
    }
    found = {path_of(keys): leaf for keys, leaf in jax.tree_util.tree_flatten_with_path(nested)[0]}
    lines = [f"{path} is missing" for path in wanted if path not in found]
    lines += [f"{path} is not in the model" for path in found if path not in wanted]
    for path in wanted.keys() & found.keys():
        if tuple(wanted[path].shape) != tuple(found[path].shape):
            shapes = f"{tuple(found[path].shape)}, the model has {tuple(wanted[path].shape)}"
            lines.append(f"{path} has shape {shapes}")
    return sorted(lines)
