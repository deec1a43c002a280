"""Runs Python files of the user: recipes, and files that define an objective or a network.

A file is registered as a module, so that dataclasses in it work as in any other module and a stored run can
name their classes. A run's `config.json` comes from elsewhere, so nothing that it names is run or imported,
except modules of jaxssl: it says in which file a class was defined, and reading the run asks for that file.
"""

import dataclasses
import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from jaxssl.errors import InputError

_named: set[str] = set()  # modules that the user has named


def load_module(path: str | Path) -> ModuleType:
    """Runs a Python file and returns it as a module, which other code can import by its name.

    Files beside it can be imported by it, as if it were run as a script.

    Args:
      path: A file that ends in `.py`.

    Returns:
      The module. It has the name of the file without the ending; `_file` is appended if another module
      has that name already.

    Raises:
      InputError: The file does not exist, does not end in `.py`, is not valid Python, or raised an error.
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
        sys.modules.pop(name, None)
        if isinstance(error, (InputError, KeyboardInterrupt)):
            raise
        raise InputError(f"{path}{_problem(path, error)}") from error
    finally:
        if str(path.parent) in sys.path:
            sys.path.remove(str(path.parent))
    _named.add(name)
    return module


def load_code(code: Iterable[str | Path]) -> None:
    """Makes classes of the user known, which the configuration of a stored run may then name.

    Args:
      code: Python files, which are run, or names of modules such as `mypackage.objectives`, which are
        imported.

    Raises:
      InputError: A file cannot be run, or a module cannot be imported.
    """
    for file in code:
        name = str(file)
        is_module = all(part.isidentifier() for part in name.split(".")) and not name.endswith(
            ".py"
        )
        if not is_module or Path(file).exists():
            load_module(file)
            continue
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise InputError(
                f"{name} is neither a Python file nor a module that can be imported ({error})"
            ) from error
        _named.add(name)


def find_class(name: str, file: str | None) -> type:
    """Returns a dataclass of jaxssl, or of a module of the user, that a stored configuration names.

    Args:
      name: The class, as `module:class`.
      file: File in which a class outside of jaxssl was defined.

    Raises:
      InputError: There is no such dataclass in jaxssl, or in a module that the user has named. Modules that
        a program of the user's own has imported count as named, unless they are installed ones.
    """
    module_name, _, class_name = name.partition(":")
    if module_name.split(".")[0] == "jaxssl":
        try:
            importlib.import_module(module_name)
        except (ImportError, ValueError) as error:
            raise InputError(
                f"the run uses the class {name}, which this version of jaxssl does not have"
            ) from error
    kind = getattr(sys.modules.get(module_name), class_name, None)
    is_own = getattr(kind, "__module__", None) == module_name and _is_named(module_name)
    if is_own and isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return kind
    code = module_name if file is None else file
    where = "" if file is None else f", which was defined in {file}"
    raise InputError(
        f"the run uses the class {name}{where}; only code that you name is run: read it, then pass "
        f"code={code!r} (on a command line --code {code})"
    )


def _is_named(module_name: str) -> bool:
    """Returns whether classes of this module may be used: of jaxssl, or named or imported by the user."""
    if module_name.split(".")[0] == "jaxssl" or module_name in _named | {"__main__"}:
        return True
    file = getattr(sys.modules.get(module_name), "__file__", None)
    if file is None:
        return False
    installed = [
        sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")
    ]
    return not any(Path(file).absolute().is_relative_to(folder) for folder in installed)


def _problem(path: Path, error: BaseException) -> str:
    """Describes why a file could not be run, with the line where that happened."""
    if isinstance(error, (SyntaxError, ValueError)):
        return f": {error}"
    lines = [
        line for line in traceback.extract_tb(error.__traceback__) if line.filename == str(path)
    ]
    where = f", line {lines[-1].lineno}" if lines else ""
    return f"{where}: {type(error).__name__}: {error}"


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
