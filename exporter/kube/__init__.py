"""Pods of this node and the kubelet's CPU settings; every failure leaves as ``MappingError``."""
