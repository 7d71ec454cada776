"""Formulas as MathML, which browsers draw themselves: no script, no fonts, nothing fetched."""

import re

from docutils.utils.math.latex2mathml import tex2mathml


def setup(app):
    app.add_html_math_renderer("mathml", (inline, None), (displayed, None))
    app.config.html_math_renderer = "mathml"


def inline(translator, node):
    _put(translator, node, f"{tex2mathml(node.astext())}")


def displayed(translator, node):
    """A formula on a line of its own, its number beside it."""
    tag = re.search(r"\\tag\{(.+?)\}", node.astext())
    formula = tex2mathml(re.sub(r"\\tag\{.+?\}", "", node.astext()), as_block=True)
    number = f'<span class="eqno">({tag[1]})</span>' if tag else ""
    _put(translator, node, f'<div class="math-block">{number}{formula}</div>')


def _put(translator, node, html):
    from docutils.nodes import SkipNode

    translator.body.append(html)
    raise SkipNode
