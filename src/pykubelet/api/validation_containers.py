"""What must hold for the containers of a pod: init, regular, their ports, probes and resources."""

from typing import Final

from . import names
from .core import (
    Container,
    ContainerPort,
    EnvVar,
    HTTPGetAction,
    LifecycleHandler,
    PodSpec,
    Probe,
    ResourceRequirements,
    SecurityContext,
    SleepAction,
)
from .fielderrors import FieldErrors
from .podinfo import is_sidecar
from .quantity import Quantity
from .resources import pod_level
from .validation_security import check_apparmor, check_seccomp
from .validation_volumes import check_field_ref, check_mounts, check_pull_policy, check_resource_ref
from .volumes import Volume
from .wellknown import CPU, EPHEMERAL_STORAGE, HUGEPAGES_PREFIX, MEMORY

_ENV_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_NAMED_SIGNALS: Final = (
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL",
    "SIGINT", "SIGIO", "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT",
    "SIGSEGV", "SIGSTKFLT", "SIGSTOP", "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU",
    "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN",
    "SIGRTMAX",
)  # fmt: skip
_SIGNALS: Final = frozenset(_NAMED_SIGNALS) | frozenset(
    [f"SIGRTMIN+{n}" for n in range(1, 16)] + [f"SIGRTMAX-{n}" for n in range(1, 15)]
)
_INIT_ONLY: Final = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
_NOT_NEGATIVE: Final = "must be greater than or equal to 0"


def check_containers(spec: PodSpec, sound: dict[str, Volume], path: str, errors: FieldErrors) -> None:
    """All init and regular containers; *sound* are the volumes that mounts may name."""
    at = f"{path}.containers"
    if not spec.containers:
        errors.required(at)
    taken: set[str] = set()
    for index, container in enumerate(spec.containers):
        here = f"{at}[{index}]"
        _common(container, spec, sound, here, errors)
        if container.name in taken:
            errors.duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        _hooks_and_probes(container, spec, here, errors)
        _restart_policy(container, here, errors)
    _host_ports(spec.containers, at, errors)
    at = f"{path}.initContainers"
    for index, container in enumerate(spec.initContainers):
        here = f"{at}[{index}]"
        _common(container, spec, sound, here, errors)
        _restart_policy(container, here, errors)
        if container.name and container.name in taken:
            errors.duplicate(f"{here}.name", container.name)
        taken.add(container.name)
        _host_ports([container], at, errors, index)
        if is_sidecar(container):
            _hooks_and_probes(container, spec, here, errors)
            continue
        for field in _INIT_ONLY:
            if getattr(container, field) is not None:
                errors.forbidden(
                    f"{here}.{field}", "may not be set for init containers without restartPolicy=Always"
                )
        for number, policy in enumerate(container.resizePolicy):
            if policy.restartPolicy == "RestartContainer":
                errors.invalid(
                    f"{here}.resizePolicy[{number}].restartPolicy",
                    policy.restartPolicy,
                    "must not be set to 'RestartContainer' for non-sidecar initContainers",
                )


def _common(
    container: Container, spec: PodSpec, sound: dict[str, Volume], at: str, errors: FieldErrors
) -> None:
    if not container.name:
        errors.required(f"{at}.name")
    else:
        errors.invalid(f"{at}.name", container.name, *names.dns_label(container.name))
    if not container.image:
        errors.required(f"{at}.image")
    elif container.image != container.image.strip():
        errors.invalid(f"{at}.image", container.image, "must not have leading or trailing whitespace")
    if not container.terminationMessagePolicy:
        errors.required(f"{at}.terminationMessagePolicy")
    else:
        policies = ("File", "FallbackToLogsOnError")
        errors.one_of(f"{at}.terminationMessagePolicy", container.terminationMessagePolicy, policies)
    _ports(container.ports, f"{at}.ports", errors)
    for index, var in enumerate(container.env):
        _env(var, f"{at}.env[{index}]", spec, errors)
    _env_from(container, f"{at}.envFrom", errors)
    check_mounts(container, sound, at, errors)
    check_pull_policy(container.imagePullPolicy, f"{at}.imagePullPolicy", errors)
    claims = {claim.name for claim in spec.resourceClaims}
    check_resources(container.resources, f"{at}.resources", errors, claims=claims, of_pod=False)
    _resize_policy(container, spec, f"{at}.resizePolicy", errors)
    _security(container.securityContext, spec, f"{at}.securityContext", errors)


# --- ports and environment ----------------------------------------------------


def _ports(ports: list[ContainerPort], path: str, errors: FieldErrors) -> None:
    taken: set[str] = set()
    for index, port in enumerate(ports):
        at = f"{path}[{index}]"
        if port.name:
            problems = names.port_name(port.name)
            errors.invalid(f"{at}.name", port.name, *problems)
            if not problems and port.name in taken:
                errors.duplicate(f"{at}.name", port.name)
            taken.add(port.name)
        if not port.containerPort:
            errors.required(f"{at}.containerPort")
        else:
            errors.invalid(f"{at}.containerPort", port.containerPort, *names.port_number(port.containerPort))
        if port.hostPort:
            errors.invalid(f"{at}.hostPort", port.hostPort, *names.port_number(port.hostPort))
        if not port.protocol:
            errors.required(f"{at}.protocol")
        else:
            errors.one_of(f"{at}.protocol", port.protocol, ("SCTP", "TCP", "UDP"))


def _host_ports(containers: list[Container], path: str, errors: FieldErrors, first: int = 0) -> None:
    taken: set[str] = set()
    for index, container in enumerate(containers, first):
        for number, port in enumerate(container.ports):
            key = f"{port.protocol}/{port.hostIP}/{port.hostPort}"
            if port.hostPort and key in taken:
                errors.duplicate(f"{path}[{index}].ports[{number}].hostPort", key)
            taken.add(key)


def _env(var: EnvVar, at: str, spec: PodSpec, errors: FieldErrors) -> None:
    if not var.name:
        errors.required(f"{at}.name")
    else:
        errors.invalid(f"{at}.name", var.name, *names.env_name(var.name))
    source = var.valueFrom
    if source is None:
        return
    at = f"{at}.valueFrom"
    if source.fieldRef is not None:
        check_field_ref(source.fieldRef, _ENV_FIELDS, f"{at}.fieldRef", errors)
    if source.resourceFieldRef is not None:
        check_resource_ref(source.resourceFieldRef, f"{at}.resourceFieldRef", errors)
    for kind, ref in (("configMapKeyRef", source.configMapKeyRef), ("secretKeyRef", source.secretKeyRef)):
        if ref is not None:
            errors.invalid(f"{at}.{kind}.name", ref.name, *names.dns_subdomain(ref.name))
            if not ref.key:
                errors.required(f"{at}.{kind}.key")
            else:
                errors.invalid(f"{at}.{kind}.key", ref.key, *names.config_key(ref.key))
    if source.fileKeyRef is not None:
        _file_key(
            source.fileKeyRef.volumeName, source.fileKeyRef.path, source.fileKeyRef.key, at, spec, errors
        )
    given = sum(getattr(source, field) is not None for field in source.__struct_fields__)
    if not given:
        errors.invalid(
            at,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
            "`secretKeyRef` or `fileKeyRef`",
        )
    elif var.value:
        errors.invalid(at, "", "may not be specified when `value` is not empty")
    elif given > 1:
        errors.invalid(at, "", "may not have more than one field specified at a time")


def _file_key(volume: str, path: str, key: str, at: str, spec: PodSpec, errors: FieldErrors) -> None:
    at = f"{at}.fileKeyRef"
    if not key:
        errors.required(f"{at}.key")
    else:
        errors.invalid(f"{at}.key", key, *names.env_name(key))
    if not volume:
        errors.required(f"{at}.volumeName")
    else:
        errors.invalid(f"{at}.volumeName", volume, *names.dns_label(volume))
    if not path:
        errors.required(f"{at}.path")
    else:
        errors.invalid(f"{at}.path", path, *names.no_backsteps(path))
    found = next((v for v in spec.volumes if v.name == volume), None)
    if found is None:
        errors.not_found(f"{at}.volumeName", volume)
    elif found.emptyDir is None:
        errors.invalid(f"{at}.volumeName", volume, "referenced volume must be of type emptyDir")


def _env_from(container: Container, path: str, errors: FieldErrors) -> None:
    for index, source in enumerate(container.envFrom):
        at = f"{path}[{index}]"
        if source.prefix:
            errors.invalid(f"{at}.prefix", source.prefix, *names.env_name(source.prefix))
        given = 0
        for kind, ref in (("configMapRef", source.configMapRef), ("secretRef", source.secretRef)):
            if ref is not None:
                given += 1
                if not ref.name:
                    errors.required(f"{at}.{kind}.name")
                else:
                    errors.invalid(f"{at}.{kind}.name", ref.name, *names.dns_subdomain(ref.name))
        if given == 0:
            errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif given > 1:
            errors.invalid(path, "", "may not have more than one field specified at a time")


# --- probes, hooks, restarts --------------------------------------------------


def _hooks_and_probes(container: Container, spec: PodSpec, at: str, errors: FieldErrors) -> None:
    grace = spec.terminationGracePeriodSeconds
    if container.lifecycle is not None:
        hooks = (("postStart", container.lifecycle.postStart), ("preStop", container.lifecycle.preStop))
        for name, hook in hooks:
            if hook is not None:
                _handler(hook, hook.sleep, grace, f"{at}.lifecycle.{name}", errors)
        if container.lifecycle.stopSignal is not None:
            _stop_signal(container.lifecycle.stopSignal, spec, f"{at}.lifecycle.stopSignal", errors)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe: Probe | None = getattr(container, name)
        if probe is None:
            continue
        _probe(probe, f"{at}.{name}", errors)
        if name == "readinessProbe":
            if probe.terminationGracePeriodSeconds is not None:
                errors.invalid(
                    f"{at}.{name}.terminationGracePeriodSeconds",
                    probe.terminationGracePeriodSeconds,
                    "must not be set for readinessProbes",
                )
        elif probe.successThreshold != 1:
            errors.invalid(f"{at}.{name}.successThreshold", probe.successThreshold, "must be 1")


def _probe(probe: Probe, at: str, errors: FieldErrors) -> None:
    _handler(probe, None, None, at, errors)
    for field in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        value: int = getattr(probe, field)
        if value < 0:
            errors.invalid(f"{at}.{field}", value, _NOT_NEGATIVE)
    grace = probe.terminationGracePeriodSeconds
    if grace is not None and grace <= 0:
        errors.invalid(f"{at}.terminationGracePeriodSeconds", grace, "must be greater than 0")


def _handler(
    handler: Probe | LifecycleHandler,
    sleep: SleepAction | None,
    grace: int | None,
    at: str,
    errors: FieldErrors,
) -> None:
    kinds = [
        kind for kind in ("exec", "httpGet", "tcpSocket", "grpc") if getattr(handler, kind, None) is not None
    ]
    if sleep is not None:
        kinds.append("sleep")
    if not kinds:
        errors.required(at, "must specify a handler type")
        return
    for kind in kinds[1:]:
        errors.forbidden(f"{at}.{kind}", "may not specify more than 1 handler type")
    at = f"{at}.{kinds[0]}"
    if kinds[0] == "exec" and handler.exec is not None and not handler.exec.command:
        errors.required(f"{at}.command")
    elif kinds[0] == "httpGet" and handler.httpGet is not None:
        _http_get(handler.httpGet, at, errors)
    elif kinds[0] == "tcpSocket" and handler.tcpSocket is not None:
        _port(handler.tcpSocket.port, f"{at}.port", errors)
    elif kinds[0] == "grpc" and isinstance(handler, Probe) and handler.grpc is not None:
        _port(handler.grpc.port, f"{at}.port", errors)
    elif sleep is not None and grace is not None and not 0 <= sleep.seconds <= grace:
        errors.invalid(
            at, sleep.seconds, f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        )


def _http_get(action: HTTPGetAction, at: str, errors: FieldErrors) -> None:
    if not action.path:
        errors.required(f"{at}.path")
    _port(action.port, f"{at}.port", errors)
    errors.one_of(f"{at}.scheme", action.scheme, ("HTTP", "HTTPS"))
    for header in action.httpHeaders:
        errors.invalid(f"{at}.httpHeaders", header.name, *names.header_name(header.name))


def _port(port: int | str, at: str, errors: FieldErrors) -> None:
    errors.invalid(at, port, *(names.port_number(port) if isinstance(port, int) else names.port_name(port)))


def _stop_signal(signal: str, spec: PodSpec, at: str, errors: FieldErrors) -> None:
    if spec.os is None:
        errors.forbidden(at, "may not be set for containers with empty `spec.os.name`")
    elif spec.os.name == "windows":
        errors.one_of(at, signal, ("SIGKILL", "SIGTERM"))
    elif spec.os.name == "linux":
        errors.one_of(at, signal, sorted(_SIGNALS))


def _restart_policy(container: Container, at: str, errors: FieldErrors) -> None:
    rules = container.restartPolicyRules
    if container.restartPolicy is not None:
        policies = ("Always", "Never", "OnFailure")
        errors.one_of(f"{at}.restartPolicy", container.restartPolicy, policies)
    elif rules:
        errors.required(f"{at}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > 20:
        errors.too_many(f"{at}.restartPolicyRules", len(rules), 20)
    for index, rule in enumerate(rules):
        here = f"{at}.restartPolicyRules[{index}]"
        errors.one_of(f"{here}.action", rule.action, ("Restart", "RestartAllContainers"))
        if rule.exitCodes is None:
            errors.required(f"{here}.exitCodes", "must be specified")
            continue
        errors.one_of(f"{here}.exitCodes.operator", rule.exitCodes.operator, ("In", "NotIn"))
        if len(rule.exitCodes.values) > 255:
            errors.too_many(f"{here}.exitCodes.values", len(rule.exitCodes.values), 255)


def _resize_policy(container: Container, spec: PodSpec, at: str, errors: FieldErrors) -> None:
    taken: set[str] = set()
    for index, policy in enumerate(container.resizePolicy):
        if policy.resourceName in taken:
            errors.duplicate(f"{at}[{index}]", policy.resourceName)
        taken.add(policy.resourceName)
        for value, known in (
            (policy.resourceName, (CPU, MEMORY)),
            (policy.restartPolicy, ("NotRequired", "RestartContainer")),
        ):
            if value:
                errors.one_of(at, value, known)
            else:
                errors.required(at)
        if spec.restartPolicy == "Never" and policy.restartPolicy != "NotRequired":
            errors.invalid(
                at, policy.restartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            )


# --- resources ----------------------------------------------------------------


def _resource_name(name: str, at: str, errors: FieldErrors, *, of_pod: bool) -> None:
    problems = names.qualified_name(name)
    errors.invalid(at, name, *problems)
    if problems:
        return
    if of_pod:
        if not pod_level(name):
            errors.one_of(at, name, (CPU, HUGEPAGES_PREFIX, MEMORY))
    elif "/" not in name:
        if name not in (CPU, MEMORY, EPHEMERAL_STORAGE) and not name.startswith(HUGEPAGES_PREFIX):
            errors.invalid(at, name, "must be a standard resource for containers")
    elif "kubernetes.io/" not in name and (
        name.startswith("requests.") or names.qualified_name(f"requests.{name}")
    ):
        errors.invalid(at, name, "doesn't follow extended resource name standard")


def overcommits(name: str) -> bool:
    """Whether requests for it may be below its limit: only the node's own resources but huge pages."""
    native = "/" not in name or "kubernetes.io/" in name
    return native and not name.startswith(HUGEPAGES_PREFIX)


def _page_size(name: str) -> Quantity | None:
    try:
        return Quantity.parse(name.removeprefix(HUGEPAGES_PREFIX))
    except ValueError:
        return None


def _amount(name: str, amount: Quantity, at: str, errors: FieldErrors) -> None:
    if amount < Quantity.zero():
        errors.invalid(at, str(amount), _NOT_NEGATIVE)
    if "/" in name and "kubernetes.io/" not in name and amount.milli_value() % 1000:
        errors.invalid(at, str(amount), "must be an integer")
    if name.startswith(HUGEPAGES_PREFIX):
        size = _page_size(name)
        if size is None or size <= Quantity.zero() or amount.nano_value() % size.nano_value():
            errors.invalid(at, str(amount), f"{amount} is not positive integer multiple of {name}")


def check_resources(
    resources: ResourceRequirements, at: str, errors: FieldErrors, *, claims: set[str], of_pod: bool
) -> None:
    """Names, amounts, requests against limits; *claims* are the names of the pod's claims."""
    for which, amounts in (("limits", resources.limits), ("requests", resources.requests)):
        for name, amount in amounts.items():
            here = f"{at}.{which}[{name}]"
            _resource_name(name, here, errors, of_pod=of_pod)
            _amount(name, amount, here, errors)
    for name, request in resources.requests.items():
        limit = resources.limits.get(name)
        if limit is None:
            if not overcommits(name):
                errors.required(f"{at}.limits", "Limit must be set for non overcommitable resources")
        elif request != limit and not overcommits(name):
            errors.invalid(f"{at}.requests", str(request), f"must be equal to {name} limit of {limit}")
        elif request > limit:
            errors.invalid(
                f"{at}.requests", str(request), f"must be less than or equal to {name} limit of {limit}"
            )
    all_names = {*resources.limits, *resources.requests}
    if any(name.startswith(HUGEPAGES_PREFIX) for name in all_names) and not all_names & {CPU, MEMORY}:
        errors.forbidden(at, "HugePages require cpu or memory")
    if of_pod:
        return
    taken: set[str] = set()
    for index, claim in enumerate(resources.claims):
        here = f"{at}.claims[{index}]"
        key = f"{claim.name}/{claim.request}" if claim.request else claim.name
        if not claim.name:
            errors.required(here)
            continue
        if key in taken or claim.name in taken:
            errors.duplicate(here, key)
        taken.add(key)
        if claim.name not in claims:
            detail = "must be one of the names in pod.spec.resourceClaims"
            listed = ": " + ", ".join(sorted(claims)) if claims else " which is empty"
            errors.not_found(here, claim.name, detail + listed)


# --- security -----------------------------------------------------------------


def _security(context: SecurityContext | None, spec: PodSpec, at: str, errors: FieldErrors) -> None:
    if context is None:
        return
    for field in ("runAsUser", "runAsGroup"):
        value: int | None = getattr(context, field)
        if value is not None:
            errors.invalid(f"{at}.{field}", value, *names.numeric_id(value))
    if context.procMount is not None:
        errors.one_of(f"{at}.procMount", context.procMount, ("Default", "Unmasked"))
        if context.procMount == "Unmasked" and spec.hostUsers is not False:
            errors.invalid(
                f"{at}.procMount", context.procMount, "`hostUsers` must be false to use `Unmasked`"
            )
    check_seccomp(context.seccompProfile, f"{at}.seccompProfile", errors)
    check_apparmor(context.appArmorProfile, f"{at}.appArmorProfile", errors)
    if context.allowPrivilegeEscalation is not False:
        return
    if context.privileged:
        errors.invalid(at, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
    if context.capabilities is not None and "CAP_SYS_ADMIN" in context.capabilities.add:
        errors.invalid(
            at, context, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
        )
