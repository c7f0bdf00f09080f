"""Headless Chromium, told what to do through the DevTools protocol on a pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
ANSWER_SECONDS = 20.0
STOP_SECONDS = 10.0
_ON_3_AND_4 = """
import fcntl, os, sys
ours = [fcntl.fcntl(int(one), fcntl.F_DUPFD, 10) for one in sys.argv[1:3]]
for number, one in zip((3, 4), ours):
    os.dup2(one, number)
    os.close(one)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The descriptors on which the protocol is spoken."""


class Browser:
    """One tab."""

    def __init__(self, read_from: int, write_to: int) -> None:
        self._read_from, self._write_to = read_from, write_to
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        """What the page's console and the security policy had to say since the last :meth:`open`."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.call(f"{domain}.enable")

    def open(self, url: str, *, width: int, height: int = 800, dark: bool = False) -> None:
        """Load a page in a window of this size, and wait until it is laid out."""
        self.complaints.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=url)
        self._wait_for("Page.loadEventFired")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in found:
            raise AssertionError(found["exceptionDetails"]["exception"].get("description", found))
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as from a keyboard."""
        codes = {"Tab": 9, "Enter": 13}
        press = {"key": key, "windowsVirtualKeyCode": codes[key]} | ({"text": "\r"} if key == "Enter" else {})
        self.call("Input.dispatchKeyEvent", type="keyDown", **press)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, *, most: int = 4000) -> bytes:
        """The whole page as PNG, cut after ``most`` pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(most, size["height"]), "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def roles(self) -> list[tuple[str, str]]:
        """Role and name of all that assistive technology is told, in order."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return [
            (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node.get("ignored")
        ]

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command, and its answer."""
        self._number += 1
        message: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write_to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while (answer := self._next(deadline)).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise AssertionError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _wait_for(self, event: str) -> None:
        deadline = time.monotonic() + ANSWER_SECONDS
        while (message := self._next(deadline)).get("method") != event:
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") == "Log.entryAdded":
            entry = event["params"]["entry"]
            self.complaints.append(f"{entry['level']}: {entry['text']}")
        elif event.get("method") in {"Runtime.exceptionThrown", "Page.javascriptDialogOpening"}:
            self.complaints.append(json.dumps(event["params"]))

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read_from], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise AssertionError(f"chromium said nothing for {ANSWER_SECONDS:g} s")
            piece = os.read(self._read_from, 1 << 20)
            if not piece:
                raise AssertionError("chromium went away")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def chromium(program: str, folder: Path) -> Iterator[Browser]:
    """A browser with a fresh profile in ``folder``, gone at the end."""
    its_input, our_output = os.pipe()
    our_input, its_output = os.pipe()
    launcher = [sys.executable, "-c", _ON_3_AND_4, str(its_input), str(its_output)]
    arguments = [*launcher, program, *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(
        arguments, pass_fds=(its_input, its_output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        os.close(its_input)
        os.close(its_output)
        try:
            browser = Browser(our_input, our_output)
            yield browser
            os.write(our_output, b'{"id":0,"method":"Browser.close"}\0')
        finally:
            os.close(our_output)
            os.close(our_input)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height of a picture."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height
