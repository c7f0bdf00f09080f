"""What a PromQL expression refers to: metrics, the labels it matches on each, the labels it groups and joins by."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<range>\[[^\]]*\])
      | (?P<name>[a-zA-Z_:][\w:]*)
      | (?P<number>\d[\w.]*)
      | (?P<operator>=~|!~|!=|==|>=|<=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "bool", "offset", "Inf", "NaN", "atan2"}
MATCHERS = {"=", "!=", "=~", "!~"}


@dataclass
class References:
    """All that one expression names."""

    matched: list[tuple[str, set[str]]] = field(default_factory=list)
    """Each metric with the labels it is selected by; a selector on ``__name__`` has its pattern as name."""
    joined: set[str] = field(default_factory=set)
    """Labels of by, on, group_left and their like."""
    functions: set[str] = field(default_factory=set)

    @property
    def metrics(self) -> set[str]:
        return {name for name, _ in self.matched}


def references(expression: str) -> References:
    found = References()
    tokens = [
        (match.lastgroup or "", match[0])
        for match in TOKEN.finditer(expression)
        if match.lastgroup != "comment" and not match[0].isspace()
    ]
    reader = iter(range(len(tokens)))
    open_metric: set[str] | None = None
    for index in reader:
        kind, text = tokens[index]
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if text == "{":
            open_metric = _selector(found, tokens, reader, open_metric)
        elif kind != "name" or text in WORDS:
            open_metric = None
        elif text in LABEL_LISTS:
            if following == "(":
                found.joined |= set(_until(tokens, reader, ")"))
        elif following == "(" or (following in LABEL_LISTS and text.islower() and "_" not in text and ":" not in text):
            found.functions.add(text)
        else:
            open_metric = set()
            found.matched.append((text, open_metric))
    return found


def _selector(
    found: References, tokens: list[tuple[str, str]], reader: Iterator[int], labels: set[str] | None
) -> set[str]:
    labels = set() if labels is None else labels
    previous = ""
    name: str | None = None
    for index in reader:
        kind, text = tokens[index]
        if text == "}":
            break
        following = tokens[index + 1][1]
        if kind == "name" and following in MATCHERS:
            previous = text
            if text != "__name__":
                labels.add(text)
        elif kind == "string" and previous == "__name__":
            name = text[1:-1]
    if name is not None:
        found.matched.append((name, labels))
    return labels


def _until(tokens: list[tuple[str, str]], reader: Iterator[int], end: str) -> Iterator[str]:
    for index in reader:
        kind, text = tokens[index]
        if text == end:
            return
        if kind == "name":
            yield text
