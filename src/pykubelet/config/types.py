"""The kubelet's own configuration as types: KubeletConfiguration v1beta1 and what only flags can say.

Fields stand in the API's order and bear its names. What the API leaves optional has its default
here (an absent field and its default look alike once loaded), except where absence itself means
something; those are ``None``-able. Source: kubelet.config.k8s.io/v1beta1.
"""

from typing import Annotated

from msgspec import Meta, Struct, field

from ..api.quantity import Quantity
from ..base.duration import Duration

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UInt32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]

API_VERSION = "kubelet.config.k8s.io/v1beta1"
KIND = "KubeletConfiguration"
#: Where the container runtime is looked for when nobody says.
DEFAULT_ENDPOINT = "unix:///run/containerd/containerd.sock"


class X509Authentication(Struct, kw_only=True):
    """KubeletX509Authentication."""

    clientCAFile: str = ""


class WebhookAuthentication(Struct, kw_only=True):
    """KubeletWebhookAuthentication."""

    enabled: bool = True
    cacheTTL: Duration = Duration.of(120)


class AnonymousAuthentication(Struct, kw_only=True):
    """KubeletAnonymousAuthentication."""

    enabled: bool = False


class Authentication(Struct, kw_only=True):
    """KubeletAuthentication: who a caller of port 10250 is."""

    x509: X509Authentication = field(default_factory=X509Authentication)
    webhook: WebhookAuthentication = field(default_factory=WebhookAuthentication)
    anonymous: AnonymousAuthentication = field(default_factory=AnonymousAuthentication)


class WebhookAuthorization(Struct, kw_only=True):
    """KubeletWebhookAuthorization."""

    cacheAuthorizedTTL: Duration = Duration.of(300)
    cacheUnauthorizedTTL: Duration = Duration.of(30)


class Authorization(Struct, kw_only=True):
    """KubeletAuthorization: what a caller of port 10250 may do."""

    mode: str = "Webhook"
    webhook: WebhookAuthorization = field(default_factory=WebhookAuthorization)


class MemorySwap(Struct, kw_only=True):
    """MemorySwapConfiguration."""

    swapBehavior: str = ""


class TextOptions(Struct, kw_only=True):
    """Where the text log format's lines go."""

    splitStream: bool = False
    infoBufferSize: str = "0"


class JSONOptions(Struct, kw_only=True):
    """Where the JSON log format's lines go."""

    splitStream: bool = False
    infoBufferSize: str = "0"


class FormatOptions(Struct, kw_only=True):
    """Options of each log format."""

    text: TextOptions = field(default_factory=TextOptions)
    json: JSONOptions = field(default_factory=JSONOptions)


class VModuleItem(Struct, kw_only=True):
    """Verbosity of the files that a pattern matches."""

    filePattern: str = ""
    verbosity: UInt32 = 0


class Logging(Struct, kw_only=True):
    """LoggingConfiguration."""

    format: str = "text"
    flushFrequency: Duration = Duration.of(5)
    verbosity: UInt32 = 0
    vmodule: list[VModuleItem] = []
    options: FormatOptions = field(default_factory=FormatOptions)


class ShutdownGracePeriodByPodPriority(Struct, kw_only=True):
    """Grace at node shutdown for pods of this priority and above."""

    priority: Int32 = 0
    shutdownGracePeriodSeconds: Int64 = 0


class CrashLoopBackOff(Struct, kw_only=True):
    """CrashLoopBackOffConfig; None only where the gate KubeletCrashLoopBackOffMax is off."""

    maxContainerRestartPeriod: Duration | None = None


class MemoryReservation(Struct, kw_only=True):
    """Memory kept from pods on one NUMA node."""

    numaNode: Int32 = 0
    limits: dict[str, Quantity] = {}


class Taint(Struct, kw_only=True):
    """core/v1 Taint, as the node registers with it."""

    key: str = ""
    value: str = ""
    effect: str = ""
    timeAdded: str | None = None


class Tracing(Struct, kw_only=True):
    """TracingConfiguration."""

    endpoint: str | None = None
    samplingRatePerMillion: Int32 | None = None


class UserNamespaces(Struct, kw_only=True):
    """UserNamespaces; absent means 65536 IDs for each pod."""

    idsPerPod: Int64 | None = None


class KubeletConfiguration(Struct, kw_only=True):
    """kubelet.config.k8s.io/v1beta1 KubeletConfiguration."""

    enableServer: bool = True
    staticPodPath: str = ""
    podLogsDir: str = "/var/log/pods"
    syncFrequency: Duration = Duration.of(60)
    fileCheckFrequency: Duration = Duration.of(20)
    httpCheckFrequency: Duration = Duration.of(20)
    staticPodURL: str = ""
    staticPodURLHeader: dict[str, list[str]] = {}
    address: str = "0.0.0.0"
    port: Int32 = 10250
    readOnlyPort: Int32 = 0
    tlsCertFile: str = ""
    tlsPrivateKeyFile: str = ""
    tlsCipherSuites: list[str] = []
    tlsCurvePreferences: list[Int32] = []
    tlsMinVersion: str = ""
    rotateCertificates: bool = False
    serverTLSBootstrap: bool = False
    authentication: Authentication = field(default_factory=Authentication)
    authorization: Authorization = field(default_factory=Authorization)
    registryPullQPS: Int32 = 5
    registryBurst: Int32 = 10
    imagePullCredentialsVerificationPolicy: str = ""
    preloadedImagesVerificationAllowlist: list[str] = []
    eventRecordQPS: Int32 = 50
    eventBurst: Int32 = 100
    enableDebuggingHandlers: bool = True
    enableContentionProfiling: bool = False
    healthzPort: Int32 = 10248
    healthzBindAddress: str = "127.0.0.1"
    oomScoreAdj: Int32 = -999
    clusterDomain: str = ""
    clusterDNS: list[str] = []
    streamingConnectionIdleTimeout: Duration = Duration.of(4 * 3600)
    nodeStatusUpdateFrequency: Duration = Duration.of(10)
    nodeStatusReportFrequency: Duration = Duration.of(300)
    nodeLeaseDurationSeconds: Int32 = 40
    imageMinimumGCAge: Duration = Duration.of(120)
    imageMaximumGCAge: Duration = Duration(0)
    imageGCHighThresholdPercent: Int32 = 85
    imageGCLowThresholdPercent: Int32 = 80
    volumeStatsAggPeriod: Duration = Duration.of(60)
    kubeletCgroups: str = ""
    systemCgroups: str = ""
    cgroupRoot: str = ""
    cgroupsPerQOS: bool = True
    cgroupDriver: str = "cgroupfs"
    cpuManagerPolicy: str = "none"
    singleProcessOOMKill: bool | None = None
    cpuManagerPolicyOptions: dict[str, str] = {}
    cpuManagerReconcilePeriod: Duration = Duration.of(10)
    memoryManagerPolicy: str = "None"
    topologyManagerPolicy: str = "none"
    topologyManagerScope: str = "container"
    topologyManagerPolicyOptions: dict[str, str] = {}
    qosReserved: dict[str, str] = {}
    runtimeRequestTimeout: Duration = Duration.of(120)
    hairpinMode: str = "promiscuous-bridge"
    maxPods: Int32 = 110
    podCIDR: str = ""
    podPidsLimit: Int64 = -1
    resolvConf: str = "/etc/resolv.conf"
    runOnce: bool = False
    cpuCFSQuota: bool = True
    cpuCFSQuotaPeriod: Duration = Duration.of(0.1)
    nodeStatusMaxImages: Int32 = 50
    maxOpenFiles: Int64 = 1_000_000
    contentType: str = "application/vnd.kubernetes.protobuf"
    kubeAPIQPS: Int32 = 50
    kubeAPIBurst: Int32 = 100
    serializeImagePulls: bool = True
    maxParallelImagePulls: Int32 | None = None
    evictionHard: dict[str, str] = {}
    evictionSoft: dict[str, str] = {}
    evictionSoftGracePeriod: dict[str, str] = {}
    evictionPressureTransitionPeriod: Duration = Duration.of(300)
    evictionMaxPodGracePeriod: Int32 = 0
    evictionMinimumReclaim: dict[str, str] = {}
    mergeDefaultEvictionSettings: bool = False
    podsPerCore: Int32 = 0
    enableControllerAttachDetach: bool = True
    protectKernelDefaults: bool = False
    makeIPTablesUtilChains: bool = True
    iptablesMasqueradeBit: Int32 = 14
    iptablesDropBit: Int32 = 15
    featureGates: dict[str, bool] = {}
    failSwapOn: bool = True
    memorySwap: MemorySwap = field(default_factory=MemorySwap)
    containerLogMaxSize: str = "10Mi"
    containerLogMaxFiles: Int32 = 5
    containerLogMaxWorkers: Int32 = 1
    containerLogMonitorInterval: Duration = Duration.of(10)
    configMapAndSecretChangeDetectionStrategy: str = "Watch"
    systemReserved: dict[str, str] = {}
    kubeReserved: dict[str, str] = {}
    reservedSystemCPUs: str = ""
    showHiddenMetricsForVersion: str = ""
    systemReservedCgroup: str = ""
    kubeReservedCgroup: str = ""
    enforceNodeAllocatable: list[str] = field(default_factory=lambda: ["pods"])
    allowedUnsafeSysctls: list[str] = []
    volumePluginDir: str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/"
    providerID: str = ""
    kernelMemcgNotification: bool = False
    logging: Logging = field(default_factory=Logging)
    enableSystemLogHandler: bool = True
    enableSystemLogQuery: bool = False
    shutdownGracePeriod: Duration = Duration(0)
    shutdownGracePeriodCriticalPods: Duration = Duration(0)
    shutdownGracePeriodByPodPriority: list[ShutdownGracePeriodByPodPriority] = []
    crashLoopBackOff: CrashLoopBackOff = field(default_factory=CrashLoopBackOff)
    reservedMemory: list[MemoryReservation] = []
    enableProfilingHandler: bool = True
    enableDebugFlagsHandler: bool = True
    seccompDefault: bool = False
    memoryThrottlingFactor: float = 0.9
    memoryReservationPolicy: str = "None"
    registerWithTaints: list[Taint] = []
    registerNode: bool = True
    tracing: Tracing | None = None
    localStorageCapacityIsolation: bool = True
    containerRuntimeEndpoint: str = DEFAULT_ENDPOINT
    imageServiceEndpoint: str = ""
    failCgroupV1: bool = True
    userNamespaces: UserNamespaces | None = None


class KubeletFlags(Struct, kw_only=True):
    """What only the command line can say; a flag's name without dashes is its field's."""

    config: str = ""
    configDir: str = ""
    kubeconfig: str = ""
    bootstrapKubeconfig: str = ""
    hostnameOverride: str = ""
    nodeIP: str = ""
    certDir: str = "/var/lib/kubelet/pki"
    cloudProvider: str = ""
    rootDir: str = "/var/lib/kubelet"
    seccompDefault: bool = False
    nodeLabels: dict[str, str] = {}
    runtimeCgroups: str = ""
    imageCredentialProviderConfig: str = ""
    imageCredentialProviderBinDir: str = ""
    lockFile: str = ""
    exitOnLockContention: bool = False
    minimumContainerTTLDuration: Duration = Duration(0)
    maximumDeadContainersPerContainer: Int32 = 1
    maximumDeadContainers: Int32 = -1
    experimentalMounterPath: str = ""
    experimentalAllocatableIgnoreEviction: bool = False
    housekeepingInterval: Duration = Duration.of(10)
    maxHousekeepingInterval: Duration = Duration.of(15)
    applicationMetricsCountLimit: Int64 = 100
    bootIDFile: str = "/proc/sys/kernel/random/boot_id"
    containerHints: str = "/etc/cadvisor/container_hints.json"
    containerd: str = "/run/containerd/containerd.sock"
    containerdNamespace: str = "k8s.io"
    enableLoadReader: bool = False
    eventStorageAgeLimit: str = "default=0"
    eventStorageEventLimit: str = "default=0"
    globalHousekeepingInterval: Duration = Duration.of(60)
    logCadvisorUsage: bool = False
    machineIDFile: str = "/etc/machine-id,/var/lib/dbus/machine-id"
    storageDriverBufferDuration: Duration = Duration.of(60)
    storageDriverDB: str = "cadvisor"
    storageDriverHost: str = "localhost:8086"
    storageDriverPassword: str = "root"
    storageDriverSecure: bool = False
    storageDriverTable: str = "stats"
    storageDriverUser: str = "root"
    #: ``remote`` (any CRI runtime) or ``docker`` (through cri-dockerd).
    containerRuntime: str = "remote"
    #: Ours: patterns of image names that garbage collection keeps.
    imageGCKeep: list[str] = []
    #: Ours: manifests may be pushed over the daemon's port.
    enableManifestPush: bool = False
    version: str = "false"
    help: bool = False


class ConfigError(Exception):
    """The configuration cannot be used; the text is one line that names field and reason."""
