"""The port: accepts connections, keeps hostile ones from costing the others, asks for certificates and passwords.

Behind it stands any aiohttp application whose pages are small or ``bytes``; nothing here knows what they say.
"""

from exporter.web.server.limits import Limits
from exporter.web.server.server import WebServer

__all__ = ["Limits", "WebServer"]
