"""Builds the wheel of jaxssl; all that is fixed stands in setup.cfg.

The recipes of configs/ and the two pages train.py and finetune.py go into the wheel as they are, below
jaxssl/recipes/ and jaxssl/pages/, where the command `jaxssl` finds them (`jaxssl/tools/shipped.py`). In a
clone and in an editable install they stay where they are, and there is one copy of each.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

PAGES = ("train", "finetune")


class BuildWithPages(build_py):
    """Takes the pages, and nothing else, from the root of the repository."""

    def find_package_modules(self, package, package_dir):
        """Finds the modules of `package`, which are the Python files in the folder `package_dir`."""
        found = super().find_package_modules(package, package_dir)
        if package != "jaxssl.pages":
            return found
        return [(package, name, file) for package, name, file in found if name in PAGES]


setup(
    packages=[*find_packages(include=["jaxssl*"]), "jaxssl.pages", "jaxssl.recipes"],
    package_dir={"jaxssl.pages": ".", "jaxssl.recipes": "configs"},
    package_data={"jaxssl": ["py.typed"], "jaxssl.recipes": ["README.md"]},
    cmdclass={"build_py": BuildWithPages},
)
