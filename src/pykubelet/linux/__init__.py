"""The kernel's own doors: mounts, safe opening, pidfds, cgroup files; each module stands alone."""
