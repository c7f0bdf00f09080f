"""What goes wrong at the web port and is survived."""

from __future__ import annotations

from typing import ClassVar, Final

from exporter.errors import ExporterError

REASONS: Final = frozenset(
    {
        "accept",  # the kernel gave no connection: too many open files
        "bad_certificate",  # a changed certificate, key or CA file cannot be used; the old ones stay
        "bad_config",  # the changed web config file is wrong; what it said before stays
        "bad_request",  # what came is no HTTP, or more of it than one request may have
        "client_certificate",  # the client's certificate carries none of the allowed names
        "connection_dropped",  # all places were taken, or all at the door, and this one was the idlest
        "connection_refused",  # all connections were taken, and every one of them was being answered
        "internal",  # an answer could not be made: a defect
        "password_queue_full",  # too many passwords are being checked already
        "plain_http",  # a client spoke HTTP to the TLS port
        "rate_limited",  # more requests than rate_limit allows
        "slow_reader",  # the client did not read its answer in time
        "slow_request",  # the client did not send its request in time
        "tls_handshake",  # the two sides found no agreement
        "unauthorized",  # no user, or not that password
    }
)
"""All reasons under which a :class:`WebError` is counted."""


class WebError(ExporterError):
    """A client that could not be served, or a web config that could not be taken over."""

    stage: ClassVar[str] = "web"
