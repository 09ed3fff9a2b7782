"""Who judges whether a pod may run on this node: a chain of pure handlers."""

from .apparmor import AppArmor
from .chain import AdmissionChain, Judge
from .features import PodFeatures
from .node import NodeFacts, Taint
from .predicates import Predicates
from .preemption import Victims, choose_victims, preempted
from .rejections import Rejections
from .sysctls import SysctlAllowList, safe_sysctls

__all__ = [
    "AdmissionChain",
    "AppArmor",
    "Judge",
    "NodeFacts",
    "PodFeatures",
    "Predicates",
    "Rejections",
    "SysctlAllowList",
    "Taint",
    "Victims",
    "choose_victims",
    "preempted",
    "safe_sysctls",
]
