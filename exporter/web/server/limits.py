"""What one client, and all of them together, may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Times in seconds, sizes in bytes. Prometheus needs one connection, 10 s and a few hundred bytes of headers."""

    connections: int = 128
    """At once, handshakes included. One more takes the place of the idlest."""
    handshake_seconds: float = 10.0
    request_seconds: float = 10.0
    """From the first byte of a request, or from the connection, to the end of its headers."""
    idle_seconds: float = 75.0
    """Between two requests: longer than the longest usual scrape interval, so that TLS is negotiated once."""
    answer_seconds: float = 30.0
    """From the request to the last byte of its answer."""
    stall_seconds: float = 5.0
    """In which a client that is being sent its answer has to take some of it."""
    request_line: int = 8190
    header_field: int = 8190
    header_fields: int = 64
    request_bytes: int = 32 << 10
    """The whole of a request, and of what is sent before it is answered."""
    held_bytes: int = 16 << 20
    """Distinct pages that are kept only because clients have not read them yet."""
    chunk: int = 64 << 10
    """What is handed to the kernel at once, so that a client that does not read costs this and not the whole page."""
