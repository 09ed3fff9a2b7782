"""``pykubelet up``: one machine, no cluster; a private containerd, sample images, sample pods."""
