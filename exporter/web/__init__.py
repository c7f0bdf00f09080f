"""The HTTP port: metrics page, API and status page behind TLS, passwords and limits on what a client may cost."""

from __future__ import annotations

from typing import ClassVar, Final

from exporter.errors import ExporterError

REASONS: Final = frozenset(
    {
        "bad_certificate",  # a changed certificate, key or CA file cannot be used; the last one stays in use
        "bad_config",  # the changed web config file is wrong; the last one stays in use
        "bad_request",  # not HTTP, or more of it than one request may have
        "client_certificate",  # the client's certificate carries none of the allowed names
        "connection_dropped",  # the connection limit was reached, and this connection was the idlest
        "connection_refused",  # the connection limit was reached, and every connection was being answered
        "internal",  # an answer could not be made: a defect
        "password_queue_full",  # too many passwords are being checked already
        "plain_http",  # a client spoke HTTP to the TLS port
        "rate_limited",  # more requests than rate_limit allows
        "slow_reader",  # the client did not read its answer in time
        "slow_request",  # the client did not send its request in time
        "tls_handshake",  # the handshake failed, for OpenSSL's reason
        "unauthorized",  # no user, or not that password
    }
)
"""All reasons under which a :class:`WebError` is counted."""


class WebError(ExporterError):
    """A client that could not be served, or a web config that could not be used."""

    stage: ClassVar[str] = "web"
