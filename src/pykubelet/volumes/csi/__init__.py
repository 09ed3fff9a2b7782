"""CSI: volumes that drivers make, each a process with a Unix socket (Container Storage Interface v1)."""
