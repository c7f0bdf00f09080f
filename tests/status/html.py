"""A page as a tree of elements: strict about nesting, so that a browser need not guess."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final, NoReturn

from typing_extensions import override

VOID: Final = {"meta", "link", "wbr", "br", "path", "input"}
"""Without an end tag; an SVG path closes itself."""
BLOCKS: Final = {"section", "table", "ul", "ol", "dl", "div", "figure", "details", "h1", "h2", "h3", "p", "main", "nav"}
MAY_HOLD: Final = {
    "ul": {"li"},
    "ol": {"li"},
    "dl": {"div"},
    "table": {"caption", "thead", "tbody"},
    "thead": {"tr"},
    "tbody": {"tr"},
    "tr": {"th", "td"},
}
PARTS: Final = set().union(*MAY_HOLD.values()) - {"div"}
NO_BLOCKS_IN: Final = {"p", "h1", "h2", "h3", "summary", "a", "small", "strong", "code", "bdi", "span", "figcaption"}


@dataclass
class Element:
    """One element with what is in it."""

    tag: str
    attributes: dict[str, str]
    inner: list[Element | str] = field(default_factory=list)

    @property
    def classes(self) -> set[str]:
        return set(self.attributes.get("class", "").split())

    @property
    def text(self) -> str:
        """All text in it, with single blanks."""
        return " ".join("".join(self._texts()).split())

    def every(self, tag: str, css_class: str = "") -> list[Element]:
        """All elements of a tag in it, in order; those of a class only, if one is given."""
        return [one for one in self.walk() if one.tag == tag and (not css_class or css_class in one.classes)]

    def one(self, tag: str, css_class: str = "") -> Element:
        """The only one."""
        [found] = self.every(tag, css_class)
        return found

    def by_id(self, identifier: str) -> Element:
        """The element of that id."""
        [found] = [one for one in self.walk() if one.attributes.get("id") == identifier]
        return found

    def walk(self) -> Iterator[Element]:
        """All elements in it, in order."""
        for one in self.inner:
            if isinstance(one, Element):
                yield one
                yield from one.walk()

    def _texts(self) -> Iterator[str]:
        for one in self.inner:
            yield from [one] if isinstance(one, str) else one._texts()  # noqa: SLF001 - of another of its own kind


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self._fail(f"<{tag}> has an attribute twice")
        parent = self.open[-1].tag
        if parent in MAY_HOLD and tag not in MAY_HOLD[parent]:
            self._fail(f"<{tag}> directly in <{parent}>")
        if tag in PARTS and tag not in MAY_HOLD.get(parent, ()):
            self._fail(f"<{tag}> in <{parent}>")
        if tag in BLOCKS and (around := NO_BLOCKS_IN & {one.tag for one in self.open}):
            self._fail(f"<{tag}> in {around}")
        if tag == "a" and any(one.tag == "a" for one in self.open):
            self._fail("a link in a link")
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].inner.append(element)
        if tag not in VOID:
            self.open.append(element)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._fail(f"<{tag}/> does not end itself")
        self.handle_starttag(tag, attrs)

    @override
    def handle_endtag(self, tag: str) -> None:
        if self.open[-1].tag != tag:
            self._fail(f"</{tag}> while <{self.open[-1].tag}> is open")
        self.open.pop()

    @override
    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1].tag in {*MAY_HOLD, "", "html", "head", "body"}:
            self._fail(f"text directly in <{self.open[-1].tag}>: {data.strip()[:40]!r}")
        self.open[-1].inner.append(data)

    @override
    def handle_comment(self, data: str) -> None:
        self._fail(f"a comment: {data[:40]!r}")

    def _fail(self, what: str) -> NoReturn:
        line, _ = self.getpos()
        raise AssertionError(f"line {line}: {what}")


def parsed(text: str) -> Element:
    """The page's tree; raises ``AssertionError`` where it is not well formed."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    if len(parser.open) > 1:
        raise AssertionError(f"never closed: {[one.tag for one in parser.open[1:]]}")
    return parser.root
