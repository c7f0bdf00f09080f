"""The only mutable state of the process: what is known of each cgroup, kept current by one thread."""

from exporter.sampler.sampler import RefreshHint, Sampler, SamplerOptions

__all__ = ["RefreshHint", "Sampler", "SamplerOptions"]
