"""Runs Python files of the user: recipes, and files that define an objective or a network.

A file is registered as a module, so that dataclasses in it work as in any other module and a stored run can
name their classes. Nothing runs a file that the user has not named: a run's `config.json` says in which file
a class was defined, and reading the run asks for that file.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from jaxssl.errors import InputError


def load_module(path: str | Path) -> ModuleType:
    """Runs a Python file and returns it as a module, which other code can import by its name.

    Files beside it can be imported by it, as if it were run as a script.

    Args:
      path: A file that ends in `.py`.

    Returns:
      The module. It has the name of the file without the ending; `_file` is appended if another module
      has that name already.

    Raises:
      InputError: The file does not exist, does not end in `.py`, is not valid Python, or raised a
        ValueError.
    """
    path = Path(path).absolute()
    if not path.is_file() or path.suffix != ".py":
        raise InputError(f"{path} is not a Python file; name a file that ends in .py")
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, (SyntaxError, ValueError)) and not isinstance(error, InputError):
            raise InputError(f"{path}: {error}") from error
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _module_name(path: Path) -> str:
    """Returns the name of the file without its ending, with `_file` if another module has that name."""
    known = sys.modules.get(path.stem)
    origin = getattr(known, "__file__", None)
    if known is None:
        try:
            found = importlib.util.find_spec(path.stem)
        except (ImportError, ValueError):
            found = None
        if found is None:
            return path.stem
        origin = found.origin
    is_same = origin is not None and Path(origin).absolute() == path
    return path.stem if is_same else f"{path.stem}_file"


def file_of(kind: type) -> str | None:
    """Returns the file in which the class `kind` was defined, or None for a class of jaxssl."""
    if kind.__module__.split(".")[0] == "jaxssl":
        return None
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return None if file is None else str(Path(file).absolute())
