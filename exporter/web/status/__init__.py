"""The status page: templates turn the documents of the API into HTML, in a thread, at most once a sample."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from aiohttp import hdrs, web

from exporter.metrics.exposition import GZIP_LEVEL
from exporter.model import CgroupName
from exporter.report import escaped_path, unescaped_segments
from exporter.web.pages import StateCache, accepts_gzip

if TYPE_CHECKING:
    from exporter.analysis.findings import Name
    from exporter.report.documents import Report
    from exporter.report.schema import Container

CONTAINER_PATH, DASHBOARD_PATH = "/container/", "/d/kte-workload"
MAX_PAGES: Final = 8  # kept of one report; with 750 containers a page has about 1 MB
MAX_TEXT: Final = 200
SORTS: Final = ("impact", "throttled", "lost", "use", "waiting", "name")


@dataclass(frozen=True, slots=True)
class Links:
    """Where the page's links lead; ``grafana`` is its base URL, empty for none."""

    home: str
    metrics: str
    grafana: str = ""

    def container(self, one: Container | Name) -> str:
        """Return the path of a container's page; empty for a name that no URL can say."""
        try:
            return CONTAINER_PATH + escaped_path(one["namespace"], one["pod"], one["container"])
        except UnicodeEncodeError:  # half a surrogate pair, from JSON or a file's name
            return ""

    def dashboard(self, one: Container | Name) -> str:
        """Return the URL of a container's dashboard; empty without Grafana or for a container without a name."""
        if not self.grafana or not one["namespace"]:
            return ""
        variables = {"var-namespace": one["namespace"], "var-pod": one["pod"], "var-container": one["container"]}
        return f"{self.grafana.rstrip('/')}{DASHBOARD_PATH}?{urlencode(variables, errors='replace')}"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page, as its URL asks for it: ``?namespace=shop&q=api&sort=lost&all&refresh=10``."""

    name: CgroupName | None = None  # None for the node's page; the others are for that page, but for refresh
    namespace: str = ""
    text: str = ""  # containers whose name or workload holds it, in any case
    sort: str = SORTS[0]
    all: bool = False  # every workload opened, with all its containers
    refresh: int | None = None  # seconds after which the browser asks again

    @classmethod
    def of(cls, name: CgroupName | None, query: Mapping[str, str]) -> PageRequest:
        """Return what a query asks for; values without a meaning are ignored."""
        seconds, sort = query.get("refresh", ""), query.get("sort", "")
        refresh = int(seconds) if re.fullmatch("[1-9][0-9]{0,3}", seconds) and int(seconds) <= 3600 else None
        if name is not None:
            return cls(name, refresh=refresh)
        return cls(
            namespace=query.get("namespace", "")[:MAX_TEXT],
            text=query.get("q", "")[:MAX_TEXT].strip(),
            sort=sort if sort in SORTS else SORTS[0],
            all="all" in query,
            refresh=refresh,
        )

    @property
    def filtered(self) -> bool:
        """Whether only some containers are asked for."""
        return bool(self.namespace or self.text)

    def query(self, **changes: Any) -> str:
        """Return the query of the same page with changes, ``?`` where there is none."""
        one = replace(self, **changes)
        values = {
            "namespace": one.namespace,
            "q": one.text,
            "sort": "" if one.sort == SORTS[0] else one.sort,
            "all": "1" if one.all else "",
            "refresh": str(one.refresh or ""),
        }
        given = {name: value for name, value in values.items() if value}
        return f"?{urlencode(given, errors='replace', quote_via=quote)}"

    @property
    def onward(self) -> str:
        """The part of the query that links to other pages keep."""
        return f"?refresh={self.refresh}" if self.refresh else ""


def add_routes(
    app: web.Application,
    state: Callable[[], Hashable],
    report: Callable[[], Awaitable[Report]],
    *,
    telemetry_path: str,
    grafana_url: str = "",
) -> None:
    """Mount the page of ``report`` at ``/``, or at ``/status`` where the metrics are at ``/``, and each container's."""
    home = "/status" if telemetry_path == "/" else "/"
    links = Links(home, telemetry_path, grafana_url)

    async def make(key: tuple[PageRequest, bool]) -> tuple[bytes, HTTPStatus]:
        return await asyncio.to_thread(_make, await report(), links, *key)

    pages = StateCache(state, make, most=MAX_PAGES)

    async def handle(request: web.Request) -> web.Response:
        match = request.match_info
        name = unescaped_segments(match["namespace"], match["pod"], match["container"]) if match else None
        zipped = accepts_gzip(request)
        body, status = await pages.get((PageRequest.of(name, request.query), zipped))
        headers = {"Content-Security-Policy": security_policy(), hdrs.VARY: hdrs.ACCEPT_ENCODING}
        if zipped:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, status=status, headers=headers, content_type="text/html", charset="utf-8")

    app.router.add_get(home, handle)
    app.router.add_get(CONTAINER_PATH + "{namespace}/{pod}/{container}", handle)


@cache
def style() -> str:
    """Return the pages' only style sheet."""
    return files("exporter.web.status").joinpath("templates", "style.css").read_text(encoding="utf-8")


@cache
def security_policy() -> str:
    """Return the Content-Security-Policy of every page: no script, and no style but ours, by its hash."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _make(report: Report, links: Links, request: PageRequest, zipped: bool) -> tuple[bytes, HTTPStatus]:  # noqa: FBT001 - the cache's key
    from exporter.web.status import rendering  # noqa: PLC0415 - Jinja2 and the templates, loaded by the first page

    body, status = rendering.render(report, request, links)
    return gzip.compress(body, GZIP_LEVEL, mtime=0) if zipped else body, status
