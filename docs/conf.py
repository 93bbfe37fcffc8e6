"""How the documentation is built: ``sphinx-build -W --keep-going -n -b html docs build/docs``.

Nothing is fetched: no inventories of other projects, no fonts and no scripts from elsewhere in the pages.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

import mlgen

project = "mlgen"
author = "The mlgen authors"
project_copyright = author
version = release = mlgen.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "mathml",
    "links",
    "python_names",
    "mlgen_reference",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["extensions"]
# The word `name` in a docstring: a link where it is a name of this reference, code otherwise (python_names).
default_role = "python-name"
smartquotes = False

myst_enable_extensions = ["attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 4
# $-signs of prices and shells are rare here; formulas may touch letters.
myst_dmath_double_inline = True

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"mlgen {release}"
html_static_path = ["_static"]
html_css_files = ["reference.css"]
html_copy_source = False
html_show_sphinx = False
html_math_renderer = "mathml"
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True
copybutton_line_continuation_character = "\\"
