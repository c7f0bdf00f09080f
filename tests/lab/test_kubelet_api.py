"""The lab's kubelet, asked over HTTP."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from exporter.lab.hierarchy import LabError
from exporter.lab.kubelet_api import KubeletApi


def nothing() -> dict[str, Any]:
    return {}


async def test_each_answer_is_made_when_it_is_asked_for() -> None:
    items: list[str] = []
    async with (
        KubeletApi(lambda: {"items": items}, lambda: {"kubeletconfig": {}}) as kubelet,
        aiohttp.ClientSession() as session,
    ):

        async def get(path: str) -> Any:
            async with session.get(kubelet.url + path) as answer:
                answer.raise_for_status()
                return await answer.json()

        assert await get("/pods") == {"items": []}
        items.append("pod")
        assert await get("/pods") == {"items": ["pod"]}
        assert await get("/configz") == {"kubeletconfig": {}}
        async with session.get(f"{kubelet.url}/exec") as answer:
            assert answer.status == 404


async def test_it_listens_on_loopback_and_stops_with_its_owner() -> None:
    async with KubeletApi(nothing, nothing) as kubelet:
        assert kubelet.url.startswith("http://127.0.0.1:")
        taken = int(kubelet.url.rpartition(":")[2])
        with pytest.raises(LabError, match=r"(?i)address already in use"):
            await KubeletApi(nothing, nothing, port=taken).__aenter__()

    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(kubelet.url)
