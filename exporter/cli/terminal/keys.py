"""From the bytes a terminal sends to keys. Pure.

The sequences are those of xterm and all that imitate it (ECMA-48 CSI, and SS3 in application mode).
"""

from __future__ import annotations

import re
from typing import Final

_SEQUENCE: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
_BEGUN: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")
_NAMES: Final = {
    b"A": "up",
    b"B": "down",
    b"H": "home",
    b"F": "end",
    b"1~": "home",
    b"4~": "end",
    b"5~": "pageup",
    b"6~": "pagedown",
    b"7~": "home",
    b"8~": "end",
}
_CONTROLS: Final = {0x0D: "enter", 0x0A: "enter", 0x7F: "backspace", 0x08: "backspace", 0x1B: "escape"}


class Keys:
    """A decoder that remembers a sequence of which only the beginning has come."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def waiting(self) -> bool:
        """Whether what comes next decides: the Esc key sends what all sequences begin with."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete; characters beyond ASCII and unknown sequences are left out."""
        return self._decode(self._rest + data, final=False)

    def flush(self) -> list[str]:
        """Nothing followed: what is left are keys of their own."""
        return self._decode(self._rest, final=True)

    def _decode(self, data: bytes, *, final: bool) -> list[str]:
        self._rest = b""
        keys: list[str] = []
        at = 0
        while at < len(data):
            if not final and _BEGUN.match(data, at):
                self._rest = data[at:][:16]
                break
            found = _SEQUENCE.match(data, at)
            if found:
                name = _NAMES.get(found[0][2:])
                keys += [name] if name else []
                at = found.end()
                continue
            if data[at] in _CONTROLS:
                keys.append(_CONTROLS[data[at]])
            elif 0x20 <= data[at] < 0x7F:
                keys.append(chr(data[at]))
            at += 1
        return keys
