"""CSI migration: volumes of cloud providers that were part of Kubernetes, as their CSI drivers have them.

Pure. ``translate`` is the door; a file for each provider tells how its volumes are called by its
driver. Source: upstream's ``csi-translation-lib`` and ``pkg/volume/csimigration``; since 1.36 no
feature gate turns any of it off.
"""

from .translate import CLOUDS, translate

__all__ = ["CLOUDS", "translate"]
