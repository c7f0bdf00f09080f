"""The reasons under which failures are counted, as the docs list them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent.parent


def _documented(page: str, before: str, after: str, name: str) -> frozenset[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(before)[2].partition(after)[0]
    return frozenset(re.findall(name, text))


POD_REASONS: Final = _documented("degradation.md", "| `pods` |", "\n", r"`(\w+)`")
WEB_REASONS: Final = _documented("web-config.md", "| reason | meaning |", "\n\n", r"\n\| `(\w+)`")


def unknown_to(package: str, reasons: frozenset[str]) -> set[str]:
    """Those that no module of a package below ``exporter/`` gives."""
    code = "".join(module.read_text(encoding="utf-8") for module in (ROOT / "exporter" / package).rglob("*.py"))
    return {reason for reason in reasons if f'"{reason}"' not in code}
