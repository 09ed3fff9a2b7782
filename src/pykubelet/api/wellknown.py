"""Names that the API gives a meaning: annotations, labels, resources, limits."""

from typing import Final

#: Which source a pod came from: ``file``, ``http`` or ``api``; ``push`` is our own.
CONFIG_SOURCE: Final = "kubernetes.io/config.source"
#: When this kubelet saw the pod first; RFC 3339 with nine decimals.
CONFIG_SEEN: Final = "kubernetes.io/config.seen"
#: A static pod's UID, as a digest of its manifest.
CONFIG_HASH: Final = "kubernetes.io/config.hash"
#: On a mirror pod: the hash of the static pod it shows.
CONFIG_MIRROR: Final = "kubernetes.io/config.mirror"
#: Annotations that a kubelet adds for itself; changes in them are no change of the pod.
LOCAL_ANNOTATIONS: Final = (CONFIG_SOURCE, CONFIG_MIRROR, CONFIG_SEEN)

SOURCE_FILE: Final = "file"
SOURCE_HTTP: Final = "http"
SOURCE_API: Final = "api"
SOURCE_PUSH: Final = "push"

#: AppArmor profile of a container, before the field existed; the container's name follows.
APPARMOR_PREFIX: Final = "container.apparmor.security.beta.kubernetes.io/"

LABEL_HOSTNAME: Final = "kubernetes.io/hostname"
LABEL_OS: Final = "kubernetes.io/os"
LABEL_ARCH: Final = "kubernetes.io/arch"

NAMESPACE_DEFAULT: Final = "default"
#: Pods of at least this priority are critical.
SYSTEM_CRITICAL_PRIORITY: Final = 2_000_000_000

CPU: Final = "cpu"
MEMORY: Final = "memory"
EPHEMERAL_STORAGE: Final = "ephemeral-storage"
PODS: Final = "pods"
HUGEPAGES_PREFIX: Final = "hugepages-"
