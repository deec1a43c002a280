"""Sphinx configuration of the documentation: `sphinx-build -W -b html docs build/docs`.

Nothing is fetched, neither while building nor by the pages: no intersphinx, no fonts and no scripts of other
hosts. The API reference is made from docstrings, the index of recipes from configs/, the notebooks are run.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]
# Notebooks and autodoc use the CPU. The notebooks' processes import this checkout, and find its commands.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
for variable, folder in (("PYTHONPATH", ROOT), ("PATH", Path(sys.executable).parent)):
    before = os.environ.get(variable)
    os.environ[variable] = f"{folder}{os.pathsep}{before}" if before else str(folder)

project = "jaxssl"
author = "the authors of jaxssl"
html_title = "jaxssl"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "myst_nb",
    # The files beside this one:
    "docstrings",
    "public_names",
    "recipes_index",
]
source_suffix = {".md": "myst-nb"}
exclude_patterns = ["parity.*"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "cache"  # keyed by the code of a notebook, in build/.jupyter_cache
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds; on two free cores each takes less than a minute
nb_merge_streams = True
nb_ipywidgets_js = {}  # would load scripts from another host

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
maximum_signature_line_length = 110
highlight_language = "none"
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
python_use_unqualified_type_names = True
default_role = "code"

html_theme = "sphinx_book_theme"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_domain_indices = False
html_show_copyright = False
html_theme_options = {
    "footer_content_items": [],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "show_toc_level": 2,
    "show_navbar_depth": 1,
}
