"""core/v1 Pod as a kubelet reads and writes it: spec, status, and all that hangs below."""

from datetime import datetime
from typing import Literal

import msgspec

from .meta import LabelSelector, LocalObjectReference, Obj, ObjectMeta
from .quantity import Quantity
from .volumes import (
    ObjectFieldSelector,
    ResourceFieldSelector,
    Volume,
    VolumeDevice,
    VolumeMount,
    VolumeMountStatus,
)

ResourceList = dict[str, Quantity]

#: Which of a pod's three lists a container stands in.
ContainerKind = Literal["init", "regular", "ephemeral"]


# --- containers ---------------------------------------------------------------


class ContainerPort(Obj):
    """core/v1 ContainerPort."""

    name: str = ""
    hostPort: int = 0
    containerPort: int = 0
    protocol: str = ""
    hostIP: str = ""


class ConfigMapKeySelector(Obj):
    """core/v1 ConfigMapKeySelector."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class SecretKeySelector(Obj):
    """core/v1 SecretKeySelector."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class FileKeySelector(Obj):
    """core/v1 FileKeySelector."""

    volumeName: str = ""
    path: str = ""
    key: str = ""
    optional: bool | None = None


class EnvVarSource(Obj):
    """core/v1 EnvVarSource."""

    fieldRef: ObjectFieldSelector | None = None
    resourceFieldRef: ResourceFieldSelector | None = None
    configMapKeyRef: ConfigMapKeySelector | None = None
    secretKeyRef: SecretKeySelector | None = None
    fileKeyRef: FileKeySelector | None = None


class EnvVar(Obj):
    """core/v1 EnvVar."""

    name: str = ""
    value: str = ""
    valueFrom: EnvVarSource | None = None


class ConfigMapEnvSource(Obj):
    """core/v1 ConfigMapEnvSource."""

    name: str = ""
    optional: bool | None = None


class SecretEnvSource(Obj):
    """core/v1 SecretEnvSource."""

    name: str = ""
    optional: bool | None = None


class EnvFromSource(Obj):
    """core/v1 EnvFromSource."""

    prefix: str = ""
    configMapRef: ConfigMapEnvSource | None = None
    secretRef: SecretEnvSource | None = None


class ResourceClaim(Obj):
    """core/v1 ResourceClaim: a container's use of a pod's claim."""

    name: str = ""
    request: str = ""


class ResourceRequirements(Obj):
    """core/v1 ResourceRequirements."""

    limits: ResourceList = {}
    requests: ResourceList = {}
    claims: list[ResourceClaim] = []


class ContainerResizePolicy(Obj):
    """core/v1 ContainerResizePolicy."""

    resourceName: str = ""
    restartPolicy: str = ""


class ContainerRestartRuleOnExitCodes(Obj):
    """core/v1 ContainerRestartRuleOnExitCodes."""

    operator: str = ""
    values: list[int] = []


class ContainerRestartRule(Obj):
    """core/v1 ContainerRestartRule."""

    action: str = ""
    exitCodes: ContainerRestartRuleOnExitCodes | None = None


class HTTPHeader(Obj):
    """core/v1 HTTPHeader."""

    name: str = ""
    value: str = ""


class ExecAction(Obj):
    """core/v1 ExecAction."""

    command: list[str] = []


class HTTPGetAction(Obj):
    """core/v1 HTTPGetAction."""

    path: str = ""
    port: int | str = 0
    host: str = ""
    scheme: str = ""
    httpHeaders: list[HTTPHeader] = []


class TCPSocketAction(Obj):
    """core/v1 TCPSocketAction."""

    port: int | str = 0
    host: str = ""


class GRPCAction(Obj):
    """core/v1 GRPCAction."""

    port: int = 0
    service: str | None = None


class SleepAction(Obj):
    """core/v1 SleepAction."""

    seconds: int = 0


class LifecycleHandler(Obj):
    """core/v1 LifecycleHandler."""

    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    tcpSocket: TCPSocketAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(Obj):
    """core/v1 Lifecycle."""

    postStart: LifecycleHandler | None = None
    preStop: LifecycleHandler | None = None
    stopSignal: str | None = None


class Probe(Obj):
    """core/v1 Probe; zero means "not given", upstream's defaults are applied on decoding."""

    exec: ExecAction | None = None
    httpGet: HTTPGetAction | None = None
    tcpSocket: TCPSocketAction | None = None
    grpc: GRPCAction | None = None
    initialDelaySeconds: int = 0
    timeoutSeconds: int = 0
    periodSeconds: int = 0
    successThreshold: int = 0
    failureThreshold: int = 0
    terminationGracePeriodSeconds: int | None = None


class Capabilities(Obj):
    """core/v1 Capabilities."""

    add: list[str] = []
    drop: list[str] = []


class SELinuxOptions(Obj):
    """core/v1 SELinuxOptions."""

    user: str = ""
    role: str = ""
    type: str = ""
    level: str = ""


class SeccompProfile(Obj):
    """core/v1 SeccompProfile."""

    type: str = ""
    localhostProfile: str | None = None


class AppArmorProfile(Obj):
    """core/v1 AppArmorProfile."""

    type: str = ""
    localhostProfile: str | None = None


class WindowsSecurityContextOptions(Obj):
    """core/v1 WindowsSecurityContextOptions."""

    gmsaCredentialSpecName: str | None = None
    gmsaCredentialSpec: str | None = None
    runAsUserName: str | None = None
    hostProcess: bool | None = None


class SecurityContext(Obj):
    """core/v1 SecurityContext of a container."""

    capabilities: Capabilities | None = None
    privileged: bool | None = None
    seLinuxOptions: SELinuxOptions | None = None
    windowsOptions: WindowsSecurityContextOptions | None = None
    runAsUser: int | None = None
    runAsGroup: int | None = None
    runAsNonRoot: bool | None = None
    readOnlyRootFilesystem: bool | None = None
    allowPrivilegeEscalation: bool | None = None
    procMount: str | None = None
    seccompProfile: SeccompProfile | None = None
    appArmorProfile: AppArmorProfile | None = None


class Container(Obj):
    """core/v1 Container; also what init and (without their target) ephemeral containers are."""

    name: str = ""
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    workingDir: str = ""
    ports: list[ContainerPort] = []
    envFrom: list[EnvFromSource] = []
    env: list[EnvVar] = []
    resources: ResourceRequirements = msgspec.field(default_factory=ResourceRequirements)
    resizePolicy: list[ContainerResizePolicy] = []
    restartPolicy: str | None = None
    restartPolicyRules: list[ContainerRestartRule] = []
    volumeMounts: list[VolumeMount] = []
    volumeDevices: list[VolumeDevice] = []
    livenessProbe: Probe | None = None
    readinessProbe: Probe | None = None
    startupProbe: Probe | None = None
    lifecycle: Lifecycle | None = None
    terminationMessagePath: str = ""
    terminationMessagePolicy: str = ""
    imagePullPolicy: str = ""
    securityContext: SecurityContext | None = None
    stdin: bool = False
    stdinOnce: bool = False
    tty: bool = False


class EphemeralContainer(Container):
    """core/v1 EphemeralContainer."""

    targetContainerName: str = ""


# --- the pod's spec -----------------------------------------------------------


class Sysctl(Obj):
    """core/v1 Sysctl."""

    name: str = ""
    value: str = ""


class PodSecurityContext(Obj):
    """core/v1 PodSecurityContext."""

    seLinuxOptions: SELinuxOptions | None = None
    windowsOptions: WindowsSecurityContextOptions | None = None
    runAsUser: int | None = None
    runAsGroup: int | None = None
    runAsNonRoot: bool | None = None
    supplementalGroups: list[int] = []
    supplementalGroupsPolicy: str | None = None
    fsGroup: int | None = None
    sysctls: list[Sysctl] = []
    fsGroupChangePolicy: str | None = None
    seccompProfile: SeccompProfile | None = None
    appArmorProfile: AppArmorProfile | None = None
    seLinuxChangePolicy: str | None = None


class HostAlias(Obj):
    """core/v1 HostAlias."""

    ip: str = ""
    hostnames: list[str] = []


class PodDNSConfigOption(Obj):
    """core/v1 PodDNSConfigOption."""

    name: str = ""
    value: str | None = None


class PodDNSConfig(Obj):
    """core/v1 PodDNSConfig."""

    nameservers: list[str] = []
    searches: list[str] = []
    options: list[PodDNSConfigOption] = []


class Toleration(Obj):
    """core/v1 Toleration."""

    key: str = ""
    operator: str = ""
    value: str = ""
    effect: str = ""
    tolerationSeconds: int | None = None


class NodeSelectorRequirement(Obj):
    """core/v1 NodeSelectorRequirement."""

    key: str = ""
    operator: str = ""
    values: list[str] = []


class NodeSelectorTerm(Obj):
    """core/v1 NodeSelectorTerm."""

    matchExpressions: list[NodeSelectorRequirement] = []
    matchFields: list[NodeSelectorRequirement] = []


class NodeSelector(Obj):
    """core/v1 NodeSelector."""

    nodeSelectorTerms: list[NodeSelectorTerm] = []


class PreferredSchedulingTerm(Obj):
    """core/v1 PreferredSchedulingTerm."""

    weight: int = 0
    preference: NodeSelectorTerm = msgspec.field(default_factory=NodeSelectorTerm)


class NodeAffinity(Obj):
    """core/v1 NodeAffinity."""

    requiredDuringSchedulingIgnoredDuringExecution: NodeSelector | None = None
    preferredDuringSchedulingIgnoredDuringExecution: list[PreferredSchedulingTerm] = []


class PodAffinityTerm(Obj):
    """core/v1 PodAffinityTerm."""

    labelSelector: LabelSelector | None = None
    namespaces: list[str] = []
    topologyKey: str = ""
    namespaceSelector: LabelSelector | None = None
    matchLabelKeys: list[str] = []
    mismatchLabelKeys: list[str] = []


class WeightedPodAffinityTerm(Obj):
    """core/v1 WeightedPodAffinityTerm."""

    weight: int = 0
    podAffinityTerm: PodAffinityTerm = msgspec.field(default_factory=PodAffinityTerm)


class PodAffinity(Obj):
    """core/v1 PodAffinity, and PodAntiAffinity, which has the same fields."""

    requiredDuringSchedulingIgnoredDuringExecution: list[PodAffinityTerm] = []
    preferredDuringSchedulingIgnoredDuringExecution: list[WeightedPodAffinityTerm] = []


class Affinity(Obj):
    """core/v1 Affinity."""

    nodeAffinity: NodeAffinity | None = None
    podAffinity: PodAffinity | None = None
    podAntiAffinity: PodAffinity | None = None


class PodReadinessGate(Obj):
    """core/v1 PodReadinessGate."""

    conditionType: str = ""


class TopologySpreadConstraint(Obj):
    """core/v1 TopologySpreadConstraint."""

    maxSkew: int = 0
    topologyKey: str = ""
    whenUnsatisfiable: str = ""
    labelSelector: LabelSelector | None = None
    minDomains: int | None = None
    nodeAffinityPolicy: str | None = None
    nodeTaintsPolicy: str | None = None
    matchLabelKeys: list[str] = []


class PodOS(Obj):
    """core/v1 PodOS."""

    name: str = ""


class PodSchedulingGate(Obj):
    """core/v1 PodSchedulingGate."""

    name: str = ""


class PodResourceClaim(Obj):
    """core/v1 PodResourceClaim."""

    name: str = ""
    resourceClaimName: str | None = None
    resourceClaimTemplateName: str | None = None


class PodSchedulingGroup(Obj):
    """core/v1 PodSchedulingGroup; only schedulers read it."""

    podGroupName: str | None = None


class WorkloadReference(Obj):
    """core/v1 WorkloadReference; only schedulers read it."""

    name: str = ""
    podGroup: str = ""
    podGroupReplicaKey: str = ""


class PodSpec(Obj):
    """core/v1 PodSpec."""

    volumes: list[Volume] = []
    initContainers: list[Container] = []
    containers: list[Container] = []
    ephemeralContainers: list[EphemeralContainer] = []
    restartPolicy: str = ""
    terminationGracePeriodSeconds: int | None = None
    activeDeadlineSeconds: int | None = None
    dnsPolicy: str = ""
    nodeSelector: dict[str, str] = {}
    serviceAccountName: str = ""
    serviceAccount: str = ""
    automountServiceAccountToken: bool | None = None
    nodeName: str = ""
    hostNetwork: bool = False
    hostPID: bool = False
    hostIPC: bool = False
    shareProcessNamespace: bool | None = None
    securityContext: PodSecurityContext | None = None
    imagePullSecrets: list[LocalObjectReference] = []
    hostname: str = ""
    subdomain: str = ""
    affinity: Affinity | None = None
    schedulerName: str = ""
    tolerations: list[Toleration] = []
    hostAliases: list[HostAlias] = []
    priorityClassName: str = ""
    priority: int | None = None
    dnsConfig: PodDNSConfig | None = None
    readinessGates: list[PodReadinessGate] = []
    runtimeClassName: str | None = None
    enableServiceLinks: bool | None = None
    preemptionPolicy: str | None = None
    overhead: ResourceList = {}
    topologySpreadConstraints: list[TopologySpreadConstraint] = []
    setHostnameAsFQDN: bool | None = None
    os: PodOS | None = None
    hostUsers: bool | None = None
    schedulingGates: list[PodSchedulingGate] = []
    resourceClaims: list[PodResourceClaim] = []
    resources: ResourceRequirements | None = None
    hostnameOverride: str | None = None
    schedulingGroup: PodSchedulingGroup | None = None
    workloadRef: WorkloadReference | None = None


# --- the pod's status ---------------------------------------------------------


class PodCondition(Obj):
    """core/v1 PodCondition."""

    type: str = ""
    observedGeneration: int = 0
    status: str = ""
    lastProbeTime: datetime | None = msgspec.field(default=None)
    lastTransitionTime: datetime | None = None
    reason: str = ""
    message: str = ""


class HostIP(Obj):
    """core/v1 HostIP."""

    ip: str = ""


class PodIP(Obj):
    """core/v1 PodIP."""

    ip: str = ""


class ContainerStateWaiting(Obj):
    """core/v1 ContainerStateWaiting."""

    reason: str = ""
    message: str = ""


class ContainerStateRunning(Obj):
    """core/v1 ContainerStateRunning."""

    startedAt: datetime | None = None


class ContainerStateTerminated(Obj, omit_defaults=False):
    """core/v1 ContainerStateTerminated; exitCode is always written."""

    exitCode: int
    signal: int | msgspec.UnsetType = msgspec.UNSET
    reason: str | msgspec.UnsetType = msgspec.UNSET
    message: str | msgspec.UnsetType = msgspec.UNSET
    startedAt: datetime | None = None
    finishedAt: datetime | None = None
    containerID: str | msgspec.UnsetType = msgspec.UNSET


class ContainerState(Obj):
    """core/v1 ContainerState: at most one is set; none means waiting."""

    waiting: ContainerStateWaiting | None = None
    running: ContainerStateRunning | None = None
    terminated: ContainerStateTerminated | None = None


class LinuxContainerUser(Obj, omit_defaults=False):
    """core/v1 LinuxContainerUser."""

    uid: int = 0
    gid: int = 0
    supplementalGroups: list[int] | msgspec.UnsetType = msgspec.UNSET


class ContainerUser(Obj):
    """core/v1 ContainerUser."""

    linux: LinuxContainerUser | None = None


class ResourceHealth(Obj):
    """core/v1 ResourceHealth."""

    resourceID: str = ""
    health: str = ""
    message: str | None = None


class ResourceStatus(Obj):
    """core/v1 ResourceStatus."""

    name: str = ""
    resources: list[ResourceHealth] = []


class ContainerStatus(Obj, omit_defaults=False):
    """core/v1 ContainerStatus; name, state, ready, restartCount, image and IDs are always written."""

    name: str
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    lastState: ContainerState = msgspec.field(default_factory=ContainerState)
    ready: bool = False
    restartCount: int = 0
    image: str = ""
    imageID: str = ""
    containerID: str | msgspec.UnsetType = msgspec.UNSET
    started: bool | msgspec.UnsetType | None = msgspec.UNSET
    allocatedResources: ResourceList | msgspec.UnsetType = msgspec.UNSET
    resources: ResourceRequirements | msgspec.UnsetType | None = msgspec.UNSET
    volumeMounts: list[VolumeMountStatus] | msgspec.UnsetType = msgspec.UNSET
    user: ContainerUser | msgspec.UnsetType | None = msgspec.UNSET
    allocatedResourcesStatus: list[ResourceStatus] | msgspec.UnsetType = msgspec.UNSET
    stopSignal: str | msgspec.UnsetType | None = msgspec.UNSET


class PodResourceClaimStatus(Obj):
    """core/v1 PodResourceClaimStatus."""

    name: str = ""
    resourceClaimName: str | None = None


class PodStatus(Obj):
    """core/v1 PodStatus."""

    observedGeneration: int = 0
    phase: str = ""
    conditions: list[PodCondition] = []
    message: str = ""
    reason: str = ""
    nominatedNodeName: str = ""
    hostIP: str = ""
    hostIPs: list[HostIP] = []
    podIP: str = ""
    podIPs: list[PodIP] = []
    startTime: datetime | None = None
    initContainerStatuses: list[ContainerStatus] = []
    containerStatuses: list[ContainerStatus] = []
    qosClass: str = ""
    ephemeralContainerStatuses: list[ContainerStatus] = []
    resize: str = ""
    resourceClaimStatuses: list[PodResourceClaimStatus] = []
    allocatedResources: ResourceList = {}
    resources: ResourceRequirements | None = None


class Pod(Obj):
    """core/v1 Pod."""

    apiVersion: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ListMeta(Obj):
    """metav1.ListMeta."""

    resourceVersion: str = ""
    remainingItemCount: int | None = None
    continue_: str = msgspec.field(name="continue", default="")


class PodList(Obj, omit_defaults=False):
    """core/v1 PodList."""

    kind: str = "PodList"
    apiVersion: str = "v1"
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)
    items: list[Pod] | None = None
