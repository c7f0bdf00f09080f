"""A whole page made in this process, as ``once`` prints it: for tests of what is on it and not of the process."""

from __future__ import annotations

import asyncio

from exporter.app import Exporter
from exporter.settings import Settings
from tests.support.pages import Page


def page_of(settings: Settings) -> Page:
    exporter = Exporter(settings)

    async def once() -> bytes:
        try:
            await exporter.resolve_pods_once()
            return await exporter.page(("text", False))
        finally:
            await exporter.close()

    return Page(asyncio.run(once()).decode(), "text/plain")
