"""The only mutable state of the process: what is known of each cgroup, kept current by one thread."""

from exporter.sampler.core import Sampler
from exporter.sampler.options import SamplerOptions

__all__ = ["Sampler", "SamplerOptions"]
