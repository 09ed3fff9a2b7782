"""What a cluster has to do with volumes: the parts of the room ``cluster`` that volumes ask, built together.

The parts are the doors ``Claims``, ``Attachments``, ``NodeInfoSink`` and ``CsiObjects`` of the room
``volumes``.
"""

import random
from collections.abc import Callable

from pykubelet.api.node import Node
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal
from pykubelet.base.tasks import Stage, Stages
from pykubelet.cluster.attachments import NodeAttachments
from pykubelet.cluster.claims import ClaimReader
from pykubelet.cluster.csi_node import CsiNodePublisher
from pykubelet.cluster.csi_objects import CsiObjectReader
from pykubelet.cluster.door import Api
from pykubelet.wiring.claimed_volumes import ClusterClaims
from pykubelet.wiring.node_object import VolumeFacts


class ClusterVolumes:
    """The cluster's side of one node's volumes."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        *,
        controller_attach: bool,
        cached: Callable[[], Node | None],
        report: Callable[[str], None],
        on_attached: Callable[[], None],
        on_csi_driver: Callable[[str], None],
    ) -> None:
        """*controller_attach* is ``enableControllerAttachDetach``.

        *cached* is the Node as a watch brought it; *report* has its status written, and is told why.

        *on_attached* hears that volumes may be attached, or told to be in use, that were not;
        *on_csi_driver* the name of a CSIDriver object that came, changed or went.
        """
        self._claims = ClaimReader(api)
        self.claims = ClusterClaims(self._claims, clock, journal)
        self.attachments = NodeAttachments(
            api,
            node_name,
            cached,
            report=report,
            on_change=on_attached,
            by_controller=controller_attach,
        )
        self.csi_node = CsiNodePublisher(api, node_name, clock, rng, journal, on_change=report)
        self.csi_objects = CsiObjectReader(api, clock, rng, on_driver=on_csi_driver)

    def facts(self) -> VolumeFacts:
        """What the Node's status tells."""
        return VolumeFacts(self.attachments.to_write, self.csi_node.errors)

    def early_stages(self, stages: Stages) -> None:
        """What is asked from the first pod on."""
        stages.add(Stage("claims", stop=self._claims.stop))
        stages.add(Stage("CSI objects", start=self.csi_objects.start, stop=self.csi_objects.stop))

    def late_stages(self, stages: Stages) -> None:
        """What tells of the node."""
        stages.add(Stage("CSI node", start=self.csi_node.start, stop=self.csi_node.stop))
