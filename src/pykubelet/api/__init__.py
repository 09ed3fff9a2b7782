"""Kubernetes objects as a node agent reads and writes them, and what can be computed from them alone."""
