"""A small CSI driver that really mounts, for tests: ``python -m tests.csidriver --help``."""
