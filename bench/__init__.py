"""Measurements by hand: ``python -m bench [name…]`` (root; a private containerd). No test asserts them."""
