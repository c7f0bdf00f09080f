"""The HTTP port: metrics page, API and status page behind TLS, passwords and limits on what a client may cost."""

from __future__ import annotations

from typing import ClassVar, Final

from exporter.errors import ExporterError

REASONS: Final = frozenset(
    (
        *("bad_certificate", "bad_config", "bad_request", "client_certificate", "connection_dropped"),
        *("connection_refused", "internal", "password_queue_full", "plain_http", "rate_limited"),
        *("slow_reader", "slow_request", "tls_handshake", "unauthorized"),
    )
)
"""All reasons under which a :class:`WebError` is counted; ``docs/web-config.md`` explains each."""


class WebError(ExporterError):
    """A client that could not be served, or a web config that could not be used."""

    stage: ClassVar[str] = "web"
