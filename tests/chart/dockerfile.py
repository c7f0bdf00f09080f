"""The Dockerfile, read, and the files that a build gets."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.chart.charting import ROOT

Instruction = tuple[str, str]


@cache
def instructions() -> Sequence[Instruction]:
    """Instruction and argument, with continued lines joined and comments gone."""
    text = (ROOT / "Dockerfile").read_text()
    lines = re.sub(r"\\\n", "", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)).splitlines()
    return tuple((word, rest.strip()) for line in lines if line for word, _, rest in [line.partition(" ")])


def stages() -> Sequence[Sequence[Instruction]]:
    """What stands before the first FROM, then each stage."""
    found: list[list[Instruction]] = [[]]
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def value(word: str) -> str:
    """The one argument that the last stage gives an instruction."""
    [found] = [rest for name, rest in stages()[-1] if name == word]
    return found


def environment() -> Mapping[str, str]:
    """What every process of the image is told."""
    return dict(word.split("=", 1) for word in shlex.split(value("ENV")))


def build_context(folder: Path) -> Path:
    """A copy of what .dockerignore lets through: first ``*``, then ``!PATH`` and ``**/PATTERN`` lines."""
    first, *lines = (one for one in (ROOT / ".dockerignore").read_text().splitlines() if one and one[0] != "#")
    assert first == "*"
    ignored = shutil.ignore_patterns(*(line.removeprefix("**/") for line in lines if line.startswith("**/")))
    paths = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert len(paths) + sum(line.startswith("**/") for line in lines) == len(lines)
    for path in paths:
        source, target = ROOT / path, folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=ignored)
        else:
            shutil.copy2(source, target)
    return folder
