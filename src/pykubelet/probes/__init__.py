"""Probes: startup, readiness and liveness of containers, by exec, HTTP, TCP and gRPC."""
