"""``--web.config.file``: TLS, client certificates, passwords, headers and a rate, in exporter-toolkit's format.

Knows files and OpenSSL, but neither HTTP nor sockets: :mod:`exporter.web.server` serves by what is decided here.
"""

from exporter.web.config.failures import WebError
from exporter.web.config.live import LiveConfig
from exporter.web.config.passwords import Busy, Passwords

__all__ = ["Busy", "LiveConfig", "Passwords", "WebError"]
