"""The container runtime: its door, the client behind it, and a runtime in memory.

:mod:`~pykubelet.cri.door` is what others call, :mod:`~pykubelet.cri.types` and
:mod:`~pykubelet.cri.stats` what they get, :mod:`~pykubelet.cri.errors` what goes wrong.
"""
