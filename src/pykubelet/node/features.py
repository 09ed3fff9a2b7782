"""The features that a node declares, so that it is given no pod or change that it could not serve. Pure.

Source: upstream's ``component-helpers/nodedeclaredfeatures``: each feature is declared where its gate is on.
"""

from collections.abc import Callable
from typing import Final

#: Features of upstream 1.36 that this node agent has.
IMPLEMENTED: Final = (
    "ExtendWebSocketsToKubelet",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    "RestartAllContainersOnContainerExits",
)
#: Declared only where the runtime has it too.
_HOST_NETWORK: Final = "UserNamespacesHostNetworkSupport"


def declared_features(
    enabled: Callable[[str], bool], *, user_namespaces_host_network: bool = False
) -> list[str]:
    """The declared features in the order of their names; *enabled* tells whether a feature gate is on.

    *user_namespaces_host_network* is what the runtime said of itself.
    """
    if not enabled("NodeDeclaredFeatures"):
        return []
    names = [name for name in IMPLEMENTED if enabled(name)]
    if user_namespaces_host_network and enabled(_HOST_NETWORK):
        names.append(_HOST_NETWORK)
    return sorted(names)
