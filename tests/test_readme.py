from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_excerpt_of_a_page_is_from_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "tests/golden").glob("*.txt"))
    excerpt = re.findall(r"^cgroup_\w+\{.*$", README, re.MULTILINE)

    assert len(excerpt) >= 5
    assert [line for line in excerpt if line not in pages] == []


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_set_up_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert {"run", "test"} <= targets
    assert {"make run", "make test"} <= set(README.splitlines())
