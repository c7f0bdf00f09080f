"""Kube-throttle-exporter: CPU throttling, quotas and CPU isolation of Kubernetes containers, read from cgroups."""

__version__ = "0.1.0"
