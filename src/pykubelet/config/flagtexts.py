"""What deprecated flags say of themselves, in upstream's words (users search for them)."""

IN_CONFIG = (
    "This parameter should be set via the config file specified by the Kubelet's --config flag. "
    "See https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/ for more information."
)

EVICTION = "Use --eviction-hard or --eviction-soft instead. Will be removed in a future version."

CADVISOR = (
    "This is a cadvisor flag that was mistakenly registered with the Kubelet. Due to legacy concerns, "
    "it will follow the standard CLI deprecation timeline before being removed."
)
