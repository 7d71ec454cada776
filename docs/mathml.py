"""Formulas as MathML, which browsers draw themselves: no script, no fonts, nothing fetched."""

import re

from docutils.nodes import SkipNode
from latex2mathml.converter import convert  # docutils' own takes 1 and 2 in \tfrac12\log for one number


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    app.config.html_math_renderer = "mathml"


def inline(translator, node):
    _put(translator, convert(node.astext()))


def displayed(translator, node):
    """A formula on a line of its own, its number at the end of the line."""
    tag = re.search(r"\\tag\{(.+?)\}", node.astext())
    formula = convert(re.sub(r"\\tag\{.+?\}", "", node.astext()), display="block")
    number = f'<span style="float: right">({tag[1]})</span>' if tag else ""
    _put(translator, f'<div class="math-block">{number}{formula}</div>')


def _put(translator, html):
    translator.body.append(html)
    raise SkipNode
