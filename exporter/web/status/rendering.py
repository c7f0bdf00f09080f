"""Views through templates to bytes.

Jinja2 is imported here and nowhere else: import this module when a page is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from exporter.analysis.text import full_name
from exporter.errors import escape_control
from exporter.report import Report
from exporter.report.summary import lowered
from exporter.web.status import SORTS, Links, PageRequest
from exporter.web.status.container_page import container_page
from exporter.web.status.node_page import node_page

_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
_SETTING = re.compile(r"(?<![\w&#:-])-?[A-Za-z][\w:.]*=\d+")


def render(report: Report, request: PageRequest, links: Links) -> tuple[bytes, HTTPStatus]:
    """Return the page of a moment; another page with 404 for a container that is not on the node."""
    status = HTTPStatus.OK
    view: object
    if request.name is None:
        template, view = "node.html", node_page(report, request)
    else:
        template, view = "container.html", container_page(report, request.name)
        if view is None:
            template, view, status = "missing.html", {"node": report.exporter["node"]}, HTTPStatus.NOT_FOUND
    style = Markup(_style())  # noqa: S704 - our own file
    page = _environment().get_template(template)
    return page.render(view=view, request=request, links=links, sorts=SORTS, style=style).encode(), status


@cache
def security_policy() -> str:
    """Return the Content-Security-Policy of every page: no script, and no style but ours, by its hash."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return _POLICY.format(digest=digest)


def printable(value: object) -> object:
    """Return what a template's expression prints: control characters and bidirectional overrides as their escapes."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else escape_control(value)


def with_settings(text: str) -> Markup:
    """Return advice in which a setting such as ``-XX:ActiveProcessorCount=2`` stands out and stays on one line."""
    return Markup(_SETTING.sub(r"<code>\g<0></code>", str(escape(printable(text)))))  # noqa: S704 - escaped just before


@cache
def _style() -> str:
    return files("exporter.web.status").joinpath("templates", "style.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("exporter.web.status", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(with_settings=with_settings, lowered=lowered, full_name=full_name)
    return environment
