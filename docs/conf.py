"""The site: `make docs` builds it, without a network, and any warning stops it."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]  # the code that lies here, whatever is installed

import generate  # noqa: E402
import mathml  # noqa: E402

import bridgepipe  # noqa: E402

generate.write(HERE / "reference")

project = "bridgepipe"
author = "The bridgepipe authors"
copyright = author
release = version = bridgepipe.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"bridgepipe {release}"
html_copy_source = False
html_show_sphinx = False
pygments_style = "default"

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # links to a heading are those that work on GitHub, and are checked
myst_dmath_double_inline = True
suppress_warnings = [
    "myst.header",  # README starts below its title when it is part of the start page
    "ref.python",  # types in signatures, such as bytes, are looked for by name; nobody wrote them as links
]

default_role = "code"
# scipy's kstest has a signature that cannot be printed
autodoc_default_options = {
    "members": True,
    "ignore-module-all": True,
    "exclude-members": "model_config, kstest",
}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
napoleon_use_rtype = False


def setup(app):
    mathml.setup(app)
    app.connect("autodoc-process-docstring", plain_bars)
    app.connect("autodoc-process-docstring", links_to_pages)


def plain_bars(app, what, name, obj, options, lines):
    """A bar in a docstring means an absolute value, not a substitution."""
    lines[:] = [re.sub(r"(``.*?``)|\|", lambda found: found[1] or r"\|", line) for line in lines]


def links_to_pages(app, what, name, obj, options, lines):
    """A page that a docstring names is a link to it."""
    lines[:] = [generate.PAGE.sub(r":doc:`../\1`", line) for line in lines]
