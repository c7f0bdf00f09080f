"""The fake kubelet in a thread with a loop of its own, for tests whose client is another process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.fake_kubelet import Authority, FakeKubelet, Reply

START_SECONDS = 10.0
TOKEN = "let-me-in"


@dataclass(frozen=True)
class Kubelet:
    """A running one, over TLS, that lets :data:`TOKEN` in."""

    server: FakeKubelet
    loop: asyncio.AbstractEventLoop
    options: list[str]
    """What makes an exporter ask it."""

    def answer(self, path: str, reply: Reply) -> None:
        """What every further request for ``path`` gets."""
        self.loop.call_soon_threadsafe(self.server.answer, path, reply)

    @property
    def asked(self) -> int:
        """Requests for the pod list so far."""
        return sum(request.path == "/pods" for request in self.server.requests)


@contextmanager
def looping() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="looping")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


@contextmanager
def kubelet(folder: Path, pods: bytes, configz: bytes = b'{"kubeletconfig": {}}') -> Iterator[Kubelet]:
    """A kubelet with these answers; its CA and the token lie in ``folder``."""
    authority = Authority()
    server = FakeKubelet(tls=authority.server("127.0.0.1"))
    server.tokens = {TOKEN}
    server.answer("/pods", Reply(body=pods))
    server.answer("/configz", Reply(body=configz))
    with looping() as loop:
        asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(START_SECONDS)
        (folder / "token").write_text(TOKEN)
        options = [
            "--pods.sources=kubelet",
            f"--kubelet.url={server.url}",
            f"--kubelet.token-file={folder / 'token'}",
            f"--kubelet.ca-file={authority.write(folder / 'ca.crt')}",
        ]
        try:
            yield Kubelet(server, loop, options)
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(START_SECONDS)
