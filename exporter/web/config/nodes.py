"""YAML read strictly: every message names the file, the line and the key, and never a value that could be a secret."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from typing import Final

import yaml

from exporter.errors import ConfigError, quoted

_NULL: Final = "tag:yaml.org,2002:null"
_SWITCHES: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.@-]{1,40}")
"""What may be shown: a hash has a ``$``, a line of a key is longer."""


def compose(content: bytes, path: str) -> Section:
    """The document's root; an empty document is an empty section. Raises ``ConfigError``."""
    try:
        # Nodes, not values: they know their lines.
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        # PyYAML quotes what it stumbled over.
        problem = re.sub(r"'[^']*'?", "...", ", ".join(part for part in (error.context, error.problem) if part))
        raise ConfigError(f"--web.config.file: {quoted(path, 200)}{line}: not YAML: {problem[:100]}") from None
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ConfigError(f"--web.config.file: {quoted(path, 200)}: not YAML ({type(error).__name__})") from None
    return Section(root, "", path)


def shown(name: str) -> str:
    """A key for a message, unless it may be a secret in the wrong place."""
    return f"'{name}'" if _PLAIN_NAME.fullmatch(name) else "(not shown)"


class Section:
    """One mapping of the file: gives each value in the wanted type or raises ``ConfigError``.

    A key whose value is null is as good as absent.
    """

    def __init__(self, node: yaml.Node | None, name: str, path: str) -> None:
        self._name, self._path = name, path
        self._values: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        if node is None or node.tag == _NULL:
            return
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong(node, f"{name or 'the file'} must be a mapping")
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._wrong(key, f"a key of {name or 'the file'} must be a word")
            if key.value in self._values:
                raise self._wrong(key, f"{self._full(key.value)} is set a second time")
            self._values[key.value] = value
            self._lines[key.value] = key.start_mark.line + 1

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __contains__(self, key: str) -> bool:
        return key in self._values and self._values[key].tag != _NULL

    def only(self, known: Collection[str]) -> None:
        """Refuse every other key."""
        for key in self._values:
            if key not in known:
                near = get_close_matches(key, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise self.wrong(key, f"is not a key of {self._name or 'a web config'}{hint}")

    def section(self, key: str) -> Section:
        """The mapping under ``key``, empty when absent."""
        return Section(self._values.get(key), self._full(key), self._path)

    def text(self, key: str) -> str | None:
        """The text under ``key``."""
        node = self._values.get(key)
        if node is None or node.tag == _NULL:
            return None
        if not isinstance(node, yaml.ScalarNode):
            raise self.wrong(key, "must be a text")
        return str(node.value)

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of texts under ``key``."""
        node = self._values.get(key)
        if node is None or node.tag == _NULL:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            raise self.wrong(key, "must be a list")
        texts = [str(item.value) for item in node.value if isinstance(item, yaml.ScalarNode) and item.tag != _NULL]
        if len(texts) != len(node.value):
            raise self.wrong(key, "must be a list of texts")
        return tuple(texts)

    def switch(self, key: str, *, default: bool) -> bool:
        """``true`` or ``false``, in any spelling of YAML 1.1."""
        text = self.text(key)
        if text is None:
            return default
        if text.lower() not in _SWITCHES:
            raise self.wrong(key, "must be true or false")
        return _SWITCHES[text.lower()]

    def wrong(self, key: str, problem: str) -> ConfigError:
        """The error to raise for the value under ``key``; for a key that is missing it names the section's file."""
        line = f" line {self._lines[key]}" if key in self._lines else ""
        return ConfigError(f"--web.config.file: {quoted(self._path, 200)}{line}: {self._full(key)} {problem}")

    def _full(self, key: str) -> str:
        name = shown(key).strip("'")
        return f"{self._name}.{name}" if self._name else name

    def _wrong(self, node: yaml.Node, problem: str) -> ConfigError:
        line = node.start_mark.line + 1
        return ConfigError(f"--web.config.file: {quoted(self._path, 200)} line {line}: {problem}")
