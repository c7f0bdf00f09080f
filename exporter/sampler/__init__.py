"""The only mutable state of the process: what is known of each cgroup, kept current by one thread."""

from exporter.sampler.core import Sampler, SamplerOptions

__all__ = ["Sampler", "SamplerOptions"]
