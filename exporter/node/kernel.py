"""The kernel's release, and whether its CFS bandwidth control throttles far below the limit."""

from __future__ import annotations

import re

from exporter.model import CfsQuotaBug

_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(?!\d)(.*)", re.ASCII)

Version = tuple[int, int, int]

_BROKEN: Version = (4, 18, 0)
_MENDED: Version = (5, 4, 0)
_STABLE_LINES: dict[tuple[int, int], tuple[Version, Version]] = {
    (4, 14): ((4, 14, 95), (4, 14, 154)),
    (4, 19): ((4, 19, 0), (4, 19, 84)),
    (5, 3): ((5, 3, 0), (5, 3, 9)),
}
"""Stable lines that took the fault or its fix: first broken and first mended release."""


def read_release(proc: str) -> str | None:
    """``uname -r`` of the kernel behind ``proc``: ``sys/kernel/osrelease``, else the third word of ``version``."""
    for name, word in (("sys/kernel/osrelease", 0), ("version", 2)):
        try:
            with open(f"{proc}/{name}", encoding="utf-8", errors="replace") as file:
                words = file.read(4096).split()
        except OSError:
            continue
        if len(words) > word:
            return words[word]
    return None


def cfs_quota_bug(release: str | None) -> CfsQuotaBug:
    """Whether ``release`` has 512ac999d275 (4.18), which throttles below the limit, without de53fd7aedb1 (5.4).

    Vendors patch older bases under numbers of their own (Debian's 4.19.0-8-amd64 was 4.19.98), so below 5.4 only a
    release that adds nothing to upstream's gives an answer.
    """
    match = _VERSION.match(release or "")
    if match is None:
        return "unknown"
    version: Version = (int(match[1]), int(match[2]), int(match[3] or 0))
    if version >= _MENDED:
        return "fixed"
    if match[4] or match[3] is None:
        return "unknown"
    broken, mended = _STABLE_LINES.get(version[:2], (_BROKEN, _MENDED))
    return "affected" if broken <= version < mended else "fixed"
