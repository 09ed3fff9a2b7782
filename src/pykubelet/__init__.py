"""pykubelet: the Kubernetes node agent in Python."""

__version__ = "0.1.0"

#: The upstream kubelet whose behaviour, flags and defaults this version follows.
KUBELET_VERSION = "v1.36.2"
