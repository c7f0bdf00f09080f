"""A kernel file and what its text last meant."""

from __future__ import annotations

from collections.abc import Callable
from os import pread
from typing import Generic, Literal, TypeVar

from exporter.cgroupfs.files import Descriptors, KernelFile
from exporter.errors import VanishedError

T = TypeVar("T")

_USUAL_BYTES = 4096
"""More than any of these files has; what is longer is read again, up to the bound."""


class ParsedFile(KernelFile, Generic[T]):
    """Parses only what changed: most containers of a node are idle at any moment, and the same bytes mean the same."""

    __slots__ = ("_bytes", "_lasting", "_parse", "_value")

    def __init__(
        self,
        directory: str,
        name: str,
        parse: Callable[[bytes, str], T],
        budget: Descriptors,
        *,
        lasting: bool = False,
    ) -> None:
        """``lasting`` files are there as long as their cgroup is."""
        super().__init__(directory, name, budget)
        self._lasting = lasting
        self._parse = parse
        self._bytes: bytes | Literal[False] | None = None
        """``None`` of a file that is not there; ``False`` equals nothing that is read."""
        self._value: T | None = None

    def value(self) -> T | None:
        """The file's meaning now; raises what reading and parsing raise. The same object while nothing changed."""
        # This runs for each file of each sample: the way of every other time is straight, and one call deep.
        try:
            data: bytes | None = pread(self._fd, _USUAL_BYTES, 0)
        except OSError:  # not kept open, or gone
            data = self.read()
        if data != self._bytes:
            self._understand(data)
        return self._value

    def _understand(self, data: bytes | None) -> None:
        if data is not None and len(data) >= _USUAL_BYTES:
            data = self.read()
        # A cgroup on its way out loses its files before its directory.
        if data is None and self._lasting:
            raise VanishedError(self.path)
        self._value = None if data is None else self._parse(data, self.path)
        # Of a long one only the beginning would be compared.
        self._bytes = data if data is None or len(data) < _USUAL_BYTES else False
