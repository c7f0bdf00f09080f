"""``--config.file``: YAML whose keys are the flags' names, nested or dotted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import yaml

from exporter.errors import ConfigError, quoted
from exporter.settings.sources import Given, suggestion
from exporter.settings.table import OPTIONS, Row

_BY_FLAG: Final = {row.flag: row for row in OPTIONS}
_LARGEST: Final = 1 << 20
_NULL: Final = "tag:yaml.org,2002:null"


def read_options(path: str) -> list[tuple[Row, Given]]:
    """The options that the file at ``path`` sets; raises ``ConfigError`` naming file, line and key.

    A key whose value is null sets nothing.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigError(f"--config.file: must be a readable file ({error.strerror}), not {quoted(path)}") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"--config.file: {quoted(path, 200)} has more than {_LARGEST} bytes")
    return list(parse_options(content, path))


def parse_options(content: bytes, path: str) -> Iterator[tuple[Row, Given]]:
    """The options in ``content``; ``path`` is only for messages."""
    root = _compose(content, path)
    if root is None or root.tag == _NULL:
        return
    if not isinstance(root, yaml.MappingNode):
        raise _wrong(path, root, "must be a mapping of option names to values")
    seen: dict[str, int] = {}
    for row, node in _leaves(root, "", path):
        line = node.start_mark.line + 1
        if row.flag in seen:
            raise _wrong(path, node, f"{row.flag} is set a second time, first in line {seen[row.flag]}")
        seen[row.flag] = line
        if row.flag == "config.file":
            raise _wrong(path, node, "config.file cannot be set in the config file itself")
        if (text := _text(node, row, path)) is not None:
            yield row, Given(text, f"{quoted(path, 200)[1:-1]} line {line}")


def _compose(content: bytes, path: str) -> yaml.Node | None:
    try:
        # Nodes, not values: they know their lines, and 'off' or '1:30' is still what its author wrote.
        return yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f" line {mark.line + 1}" if mark else ""
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            f"--config.file: {quoted(path, 200)}{line}: not YAML: {quoted(problem, 200)[1:-1]}"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # PyYAML lets the last three through: for escapes beyond Unicode, and for brackets nested a thousand deep.
        raise ConfigError(f"--config.file: {quoted(path, 200)}: not YAML ({type(error).__name__})") from error


def _leaves(node: yaml.MappingNode, prefix: str, path: str) -> Iterator[tuple[Row, yaml.Node]]:
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(path, key, "a key must be the name of an option")
        name = f"{prefix}{key.value}"
        if name in _BY_FLAG:
            yield _BY_FLAG[name], value
        elif any(flag.startswith(f"{name}.") for flag in _BY_FLAG):
            if isinstance(value, yaml.MappingNode):
                yield from _leaves(value, f"{name}.", path)
            elif value.tag != _NULL:
                raise _wrong(path, value, f"{name} must be a mapping")
        else:
            raise _wrong(path, key, f"unknown option {quoted(name)}{suggestion(name, _BY_FLAG)}")


def _text(node: yaml.Node, row: Row, path: str) -> str | None:
    if isinstance(node, yaml.ScalarNode):
        return None if node.tag == _NULL else str(node.value)
    if row.kind.unit == "list" and isinstance(node, yaml.SequenceNode):
        items = [str(item.value) for item in node.value if isinstance(item, yaml.ScalarNode)]
        if len(items) == len(node.value):
            return ",".join(items)
    raise _wrong(path, node, f"{row.flag} must be a {row.kind.unit}")


def _wrong(path: str, node: yaml.Node, message: str) -> ConfigError:
    return ConfigError(f"--config.file: {quoted(path, 200)} line {node.start_mark.line + 1}: {message}")
