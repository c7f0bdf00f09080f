"""The status page: what :mod:`exporter.report` says, as HTML for people.

Views are pure: documents become strings for templates. Nothing of Jinja2 is imported before the page is asked for, so a
process that is only scraped does not pay for it. A page is made in a thread, at most once for each report.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from aiohttp import web

from exporter.model import CgroupName
from exporter.report import Report, escaped_path, unescaped_segments
from exporter.web.pages import GZIP_LEVEL, quality

CONTAINER_PATH: Final = "/container/"
DASHBOARD_PATH: Final = "/d/kte-workload"
"""Of this repository's dashboard of workloads below Grafana's URL."""
MAX_PAGES: Final = 8
"""Kept of one report. With 750 containers a page has about 1 MB."""
REFRESH_SECONDS: Final = 10
"""What the link on the page offers."""
MAX_REFRESH_SECONDS: Final = 3600
MAX_TEXT: Final = 200
SORTS: Final = ("impact", "throttled", "lost", "use", "waiting", "name")


@dataclass(frozen=True, slots=True)
class Links:
    """Where the page's links lead."""

    home: str
    metrics: str
    grafana: str = ""
    """Grafana's base URL; empty for none."""

    def container(self, name: CgroupName) -> str:
        """Return the path of a container's page; empty for a name that no URL can say."""
        try:
            return CONTAINER_PATH + escaped_path(*name)
        except UnicodeEncodeError:  # half a surrogate pair, from JSON or a file's name
            return ""

    def dashboard(self, name: CgroupName) -> str:
        """Return the URL of a container's dashboard; empty without Grafana or for a container without a name."""
        if not self.grafana or not name.namespace:
            return ""
        variables = {"var-namespace": name.namespace, "var-pod": name.pod, "var-container": name.container}
        return f"{self.grafana.rstrip('/')}{DASHBOARD_PATH}?{urlencode(variables, errors='replace')}"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One page, as its URL asks for it."""

    name: CgroupName | None = None
    """``None`` for the node's page."""
    namespace: str = ""
    """``?namespace=shop``: its containers only."""
    text: str = ""
    """``?q=api``: containers whose name or workload holds it, in any case."""
    sort: str = SORTS[0]
    """``?sort=lost``: one of :data:`SORTS`."""
    all: bool = False
    """``?all``: every workload opened, with all its containers."""
    refresh: int | None = None
    """``?refresh=10``: seconds after which the browser asks again."""

    @classmethod
    def of(cls, name: CgroupName | None, query: Mapping[str, str]) -> PageRequest:
        """Return what a query asks for; values without a meaning are ignored."""
        refresh = _refresh(query.get("refresh", ""))
        if name is not None:
            return cls(name, refresh=refresh)
        sort = query.get("sort", "")
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


class Page(NamedTuple):
    """A page that was made."""

    body: bytes
    status: HTTPStatus
    policy: str
    """Its Content-Security-Policy."""


class StatusPages:
    """The pages of the current report; concurrent requests wait for the one being made."""

    def __init__(self, report: Callable[[], Awaitable[Report]], links: Links) -> None:
        """``report`` gives the same object until the node's state is another."""
        self._report, self._links = report, links
        self._lock = asyncio.Lock()
        self._made_of: Report | None = None
        self._pages: dict[tuple[PageRequest, bool], Page] = {}

    async def get(self, request: PageRequest, *, zipped: bool) -> Page:
        """Return one page."""
        async with self._lock:
            report = await self._report()
            if report is not self._made_of:
                self._pages.clear()
                self._made_of = report
            page = self._pages.get((request, zipped))
            if page is None:
                if len(self._pages) >= MAX_PAGES:
                    self._pages.clear()
                page = await asyncio.to_thread(_make, report, request, self._links, zipped=zipped)
                self._pages[request, zipped] = page
            return page


def add_routes(
    app: web.Application, report: Callable[[], Awaitable[Report]], *, telemetry_path: str, grafana_url: str = ""
) -> None:
    """Mount the page at ``/``, or at ``/status`` where the metrics are at ``/``, and one page for each container."""
    home = "/status" if telemetry_path == "/" else "/"
    handler = _handler(StatusPages(report, Links(home, telemetry_path, grafana_url)))
    app.router.add_get(home, handler)
    app.router.add_get(CONTAINER_PATH + "{namespace}/{pod}/{container}", handler)


def _handler(pages: StatusPages) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        match = request.match_info
        name = unescaped_segments(match["namespace"], match["pod"], match["container"]) if match else None
        zipped = quality(request.headers.get("Accept-Encoding", ""), "gzip") > 0
        page = await pages.get(PageRequest.of(name, request.query), zipped=zipped)
        headers = {"Content-Security-Policy": page.policy, "Vary": "Accept-Encoding"}
        if zipped:
            headers["Content-Encoding"] = "gzip"
        return web.Response(
            body=page.body, status=page.status, headers=headers, content_type="text/html", charset="utf-8"
        )

    return handle


def _make(report: Report, request: PageRequest, links: Links, *, zipped: bool) -> Page:
    from exporter.web.status import rendering  # noqa: PLC0415 - Jinja2 and the templates, loaded by the first page

    body, status = rendering.render(report, request, links)
    return Page(gzip.compress(body, GZIP_LEVEL, mtime=0) if zipped else body, status, rendering.security_policy())


def _refresh(text: str) -> int | None:
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0
    return seconds if 1 <= seconds <= MAX_REFRESH_SECONDS else None
