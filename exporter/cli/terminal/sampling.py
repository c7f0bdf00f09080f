"""Samples here and now, where no exporter runs that could be asked: the exporter's own parts, without its pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

from exporter.app import Exporter
from exporter.report.schema import ContainersDocument
from exporter.settings import Settings

SCAN_SECONDS = 1.0
"""A short look needs its readings close together."""


@asynccontextmanager
async def sampling(settings: Settings) -> AsyncIterator[Exporter]:
    """An exporter that samples and learns names, until the end of the block."""
    if "scan_interval" not in settings.given:
        settings = replace(settings, scan_interval=SCAN_SECONDS)
    exporter = Exporter(settings)
    tasks = [
        asyncio.create_task(exporter.loop.run(), name="sampling"),
        asyncio.create_task(exporter.directory.run(), name="pods"),
    ]
    try:
        yield exporter
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        await exporter.close()


async def sampled_containers(settings: Settings, seconds: float, *, with_series: bool = False) -> ContainersDocument:
    """The containers after ``seconds`` of sampling, and named if any source of pods answers at all."""
    async with sampling(settings) as exporter:
        await asyncio.gather(asyncio.sleep(seconds), exporter.directory.first_result())
        exporter.sampler.stop_waiting()
        return (await exporter.report()).containers(with_series=with_series)
