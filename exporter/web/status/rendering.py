"""Documents through templates to bytes.

Jinja2 is imported here and nowhere else: import this module when a page is asked for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from typing_extensions import override

from exporter.analysis import text
from exporter.analysis.findings import Finding
from exporter.cpulist import format_cpu_list
from exporter.errors import escape_control
from exporter.report import summary
from exporter.report.documents import DOCS, Report
from exporter.report.schema import Pressure
from exporter.web.status import SORTS, Links, PageRequest, style
from exporter.web.status.container_page import MAX_NEIGHBOURS, ContainerPage
from exporter.web.status.node_page import MAX_CPUS, MAX_FULL, MAX_NAMED, NodePage, total

_SETTING = re.compile(r"(?<![\w&#:-])-?[A-Za-z][\w:.]*=\d+")


def render(report: Report, request: PageRequest, links: Links) -> tuple[bytes, HTTPStatus]:
    """Return the page of a moment; another page with 404 for a container that is not on the node."""
    view: object = {"exporter": report.exporter}
    template, status = "missing.html", HTTPStatus.NOT_FOUND
    if request.name is None:
        template, status, view = "node.html", HTTPStatus.OK, NodePage(report, request)
    elif (document := report.container(request.name)) is not None:
        template, status, view = "container.html", HTTPStatus.OK, ContainerPage(report, document)
    page = _environment().get_template(template)
    return page.render(view=view, request=request, links=links).encode(), status


def printable(value: object) -> object:
    """Return what a template's expression prints: control characters and bidirectional overrides as their escapes."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else escape_control(value)


def with_settings(advice: str) -> Markup:
    """Return advice in which a setting such as ``-XX:ActiveProcessorCount=2`` stands out and stays on one line."""
    return Markup(_SETTING.sub(r"<code>\g<0></code>", str(escape(printable(advice)))))  # noqa: S704 - escaped just before


def _or_dash(words: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: "–" if value is None else words(value)


_per_second = _or_dash(lambda seconds: f"{text.amount(seconds)} s/s")


class _Environment(Environment):
    @override
    def getattr(self, obj: Any, attribute: str) -> Any:
        """``one.pod`` of a document, without Jinja2's detour over an ``AttributeError``."""
        return obj[attribute] if type(obj) is dict and attribute in obj else super().getattr(obj, attribute)


def _waiting(pressure: Pressure) -> str:
    share = pressure["waiting_share"]
    return _per_second(pressure["runqueue_seconds_per_second"]) if share is None else text.percent(share)


def _first_of(findings: Sequence[Finding]) -> str:
    return summary.title(findings[0]) + (f", {len(findings) - 1} more" if findings[1:] else "")


@cache
def _environment() -> Environment:
    environment = _Environment(
        loader=PackageLoader("exporter.web.status", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _or_dash(text.percent),
        "cpus": _or_dash(text.cpus),
        "limit": _or_dash(text.limit),
        "per_second": _per_second,
        "time": lambda epoch: datetime.fromtimestamp(epoch, UTC),
        "cpu_list": format_cpu_list,
        "counted": text.count,
        "first_of": _first_of,
        "heading": summary.title,
        "lost": summary.lost_seconds_per_second,
        "quoted": shlex.quote,
        "total": total,
        "waiting": _waiting,
        "with_settings": with_settings,
    }
    for function in (
        *(summary.cpu_ranges, summary.description, summary.duration, summary.evidence, summary.facts),
        *(summary.full_name, summary.has_problem, summary.lowered, summary.problems),
        *(summary.verdict, summary.verdict_severity),
    ):
        environment.filters[function.__name__] = function
    environment.globals |= {"docs": DOCS, "sorts": SORTS, "max_cpus": MAX_CPUS, "max_neighbours": MAX_NEIGHBOURS}
    environment.globals |= {"max_full": MAX_FULL, "max_named": MAX_NAMED}
    environment.globals["style"] = Markup(style())  # noqa: S704 - our own file
    return environment
