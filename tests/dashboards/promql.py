"""What a PromQL expression refers to: metrics, the labels it matches on each, the labels it groups and joins by."""

import re
from typing import NamedTuple

STRING_OR_COMMENT = re.compile(r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`|\#[^\n]*""")
LABEL_LIST = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
NAME = r"[a-zA-Z_:][\w:]*"
SELECTOR = re.compile(rf"(?<![\w.:$])({NAME})?\s*(?:\{{([^}}]*)\}}|(?<=[\w:])(?![\w:]|\s*\())")
MATCHER = re.compile(rf"({NAME})\s*(?:=~|!~|!=|=)\s*<(\d+)>")
WORDS = {"and", "or", "unless", "bool", "offset", "Inf", "NaN", "atan2", "group_left", "group_right"}


class References(NamedTuple):
    """All that one expression names."""

    matched: list[tuple[str, set[str]]]
    """Each metric with the labels it is selected by; a selector on ``__name__`` has its pattern as name."""
    joined: set[str]
    """Labels of by, on, group_left and their like."""

    @property
    def metrics(self) -> set[str]:
        return {name for name, _ in self.matched}


def references(expression: str) -> References:
    strings: list[str] = []

    def numbered(found: re.Match[str]) -> str:
        strings.append(found[0][1:-1])
        return " " if found[0].startswith("#") else f"<{len(strings) - 1}>"

    text = re.sub(r"\[[^\]]*\]", "", STRING_OR_COMMENT.sub(numbered, expression))
    joined = {label for labels in LABEL_LIST.findall(text) for label in re.findall(NAME, labels)}
    matched = []
    for found in SELECTOR.finditer(LABEL_LIST.sub(" ", text)):
        matchers = dict(MATCHER.findall(found[2] or ""))
        name = found[1] or (strings[int(matchers["__name__"])] if "__name__" in matchers else None)
        if name and name not in WORDS:
            matched.append((name, set(matchers) - {"__name__"}))
    return References(matched, joined)
