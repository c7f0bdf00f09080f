"""What Kubernetes says of this node: pods by uid, containers by id, the kubelet's CPU settings.

Knows nothing of cgroups. ``podlist``, ``quantity`` and ``configz`` are pure; ``kubelet``,
``files`` and ``directory`` do the waiting. Every failure leaves as :class:`exporter.errors.MappingError`.
"""
