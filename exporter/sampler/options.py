"""What a sampler is told before it begins, and what it wants afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class SamplerOptions:
    """Values of the settings the sampler runs by; seconds."""

    proc: str
    sys: str
    checkpoint: str
    """Path of the CPU manager's checkpoint."""
    interval: float
    window: float
    linger: float
    collectors: frozenset[str]
    expects_names: bool
    """False with the pod source ``none``."""


class Wants(Enum):
    """Whether a newer pod list would help."""

    NOTHING = auto()
    AGAIN = auto()
    """Containers are waiting for their names that the last list did not have."""
    NEW = auto()
    """Containers have come since the last list."""
