"""A node of real cgroups, worker processes and a kubelet API, or of files that a simulation moves."""
