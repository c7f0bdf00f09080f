"""A kernel file and what its text last meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from exporter.cgroupfs.files import Descriptors, KernelFile
from exporter.errors import VanishedError

T = TypeVar("T")


class ParsedFile(Generic[T]):
    """Parses only what changed: most containers of a node are idle at any moment, and the same bytes mean the same."""

    __slots__ = ("_bytes", "_lasting", "_parse", "_value", "file")

    def __init__(
        self, path: str, parse: Callable[[bytes, str], T], budget: Descriptors, *, lasting: bool = False
    ) -> None:
        """``lasting`` files are there as long as their cgroup is."""
        self.file = KernelFile(path, budget)
        self._lasting = lasting
        self._parse = parse
        self._bytes: bytes | None = None
        self._value: T | None = None

    def value(self) -> T | None:
        """The file's meaning now; raises what reading and parsing raise. The same object while nothing changed."""
        data = self.file.read()
        if data != self._bytes:
            # A cgroup on its way out loses its files before its directory.
            if data is None and self._lasting:
                raise VanishedError(self.file.path)
            self._value = None if data is None else self._parse(data, self.file.path)
            self._bytes = data
        return self._value
