"""Pods of this node by uid, containers by id, and the kubelet's CPU settings.

Knows nothing of cgroups. Every failure leaves as :class:`exporter.errors.MappingError`.
"""
