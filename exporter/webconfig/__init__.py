"""``--web.config.file``: TLS, client certificates, passwords, headers and a rate, in exporter-toolkit's format.

Knows files and OpenSSL, but neither HTTP nor sockets: :mod:`exporter.webserver` serves by what is decided here.
"""

from exporter.webconfig.failures import WebError
from exporter.webconfig.live import LiveConfig
from exporter.webconfig.passwords import Busy, Passwords

__all__ = ["Busy", "LiveConfig", "Passwords", "WebError"]
