"""Views through templates to bytes.

Jinja2 is imported here and nowhere else: import this module when a page is wanted.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from exporter.report import Report
from exporter.web.status.detail import detail
from exporter.web.status.overview import overview
from exporter.web.status.verdict import lowered
from exporter.web.status.wanted import Places, Wanted

_POLICY: Final = (
    "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SETTING = re.compile(r"(?<![\w&#:-])-?[A-Za-z][\w:.]*=\d+")


def render(report: Report, wanted: Wanted, places: Places) -> bytes | None:
    """The page of a moment; ``None`` where it is about a container that is not on the node."""
    view: object
    if wanted.name is None:
        template, view = "overview.html", overview(report, everything=wanted.everything)
    else:
        template, view = "container.html", detail(report, wanted.name)
    if view is None:
        return None
    text = _environment().get_template(template).render(view=view, wanted=wanted, places=places, style=Markup(_style()))  # noqa: S704 - our own file
    return text.encode()


def render_missing(report: Report, wanted: Wanted, places: Places) -> bytes:
    """What is said instead of a page about a container that is not on the node."""
    page = _environment().get_template("missing.html")
    return page.render(
        node=report.health.node_name, wanted=wanted, places=places, style=Markup(_style())  # noqa: S704 - our own file
    ).encode()  # fmt: skip


@cache
def security_policy() -> str:
    """The Content-Security-Policy under which every page works: no script, and no style but ours, by its hash."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return _POLICY.format(digest=digest)


def shown(value: object) -> object:
    """What a template's expression may print: text in which nothing is invisible or turns its surroundings around.

    Control characters, bidirectional overrides and half surrogate pairs become their escapes.
    """
    if isinstance(value, str) and not isinstance(value, Markup) and not value.isprintable():
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in value)
    return value


def with_settings(text: str) -> Markup:
    """Advice in which a setting such as ``-XX:ActiveProcessorCount=2`` stands out and stays on one line."""
    return Markup(_SETTING.sub(r"<code>\g<0></code>", str(escape(shown(text)))))  # noqa: S704 - escaped just before


@cache
def _style() -> str:
    return files("exporter.web.status").joinpath("templates", "style.css").read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("exporter.web.status", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(with_settings=with_settings, lowered=lowered)
    return environment
