"""The HTTP port: metrics page, API and status page behind TLS, passwords and limits on what a client may cost."""

from __future__ import annotations

from typing import ClassVar

from exporter.errors import ExporterError


class WebError(ExporterError):
    """A client that could not be served, or a web config that could not be used; reasons: ``docs/web-config.md``."""

    stage: ClassVar[str] = "web"
