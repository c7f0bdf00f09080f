"""The status page: what :mod:`exporter.report` says, as HTML for people.

Views (:mod:`overview`, :mod:`detail` and what they share) are pure: documents become strings ready to be laid out.
Templates only lay out. Nothing of Jinja2 is loaded before somebody asks for the page, so a process that is only scraped
does not pay for it.
"""

from __future__ import annotations

from exporter.web.status.routes import add_routes

__all__ = ["add_routes"]
