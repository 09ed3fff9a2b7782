"""An API server in the tests' process, for what a kubelet asks of one.

It is an independent model: plain JSON objects under the rules of a real server, and none of
pykubelet's own structs or clients. ``test_contract.py`` holds it to what a real server does.
"""

from tests.apiserver.faults import Cut, Expire, HalfOpen, Hang, Malformed, Refuse, Slow
from tests.apiserver.server import ApiServer

__all__ = ["ApiServer", "Cut", "Expire", "HalfOpen", "Hang", "Malformed", "Refuse", "Slow"]
