"""Trees of arrays by the paths of their leaves: `encoder/layers/attention/query/kernel`.

On disk a training state is a plain nested dict with these paths, so that checkpoints outlive the
classes that made them. `jaxssl.models.plain.to_dict` makes it.
"""

from typing import Any

import jax

from jaxssl.sharding.layout import path_of

Tree = Any


def from_nested(template: Tree, nested: dict[str, Any]) -> Tree:
    """The tree of `template` with the leaves of `nested`; KeyError names a path that is not there."""

    def find(keys: Any, _: Any) -> Any:
        place: Any = nested
        for name in path_of(keys).split("/"):
            if not isinstance(place, dict) or name not in place:
                raise KeyError(path_of(keys))
            place = place[name]
        return place

    return jax.tree_util.tree_map_with_path(find, template)


def differences(template: Tree, nested: dict[str, Any]) -> list[str]:
    """What keeps `nested` from filling `template`: paths missing, superfluous, or of another shape."""
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
