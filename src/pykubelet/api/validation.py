"""Whether a pod, with its defaults set, is one that an API server would take.

The paths and texts are upstream's; what only concerns schedulers or Windows nodes is
checked in its form alone.
"""

from collections.abc import Sequence
from typing import Final

from . import names
from .core import (
    Affinity,
    NodeSelectorTerm,
    Pod,
    PodAffinityTerm,
    PodSpec,
    Toleration,
)
from .fielderrors import FieldError, FieldErrors
from .meta import LabelSelector, ObjectMeta
from .quantity import Quantity
from .resources import containers_total
from .validation_containers import check_containers, check_resources
from .validation_security import check_pod_security
from .validation_volumes import check_volumes
from .validation_windows import check_windows
from .wellknown import HUGEPAGES_PREFIX

_MAX_ANNOTATIONS: Final = 256 * 1024
_DNS_POLICIES: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def validate_pod(pod: Pod) -> list[FieldError]:
    """Everything that is wrong with a pod that is to be created; empty if it is sound.

    Defaults must have been set, see :func:`pykubelet.api.defaults.set_pod_defaults`.
    """
    errors = FieldErrors()
    _metadata(pod.metadata, "metadata", errors)
    _spec(pod.spec, "spec", errors)
    if pod.spec.ephemeralContainers:
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if pod.spec.nodeName and pod.spec.schedulingGates:
        errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    return errors.found


def _metadata(meta: ObjectMeta, at: str, errors: FieldErrors) -> None:
    if meta.generateName:
        # What is appended to it ends it, so a final dash is fine.
        stem = meta.generateName.rstrip("-") or meta.generateName
        errors.invalid(f"{at}.generateName", meta.generateName, *names.dns_subdomain(stem))
    if not meta.name:
        errors.required(f"{at}.name", "name or generateName is required")
    else:
        errors.invalid(f"{at}.name", meta.name, *names.dns_subdomain(meta.name))
    if not meta.namespace:
        errors.required(f"{at}.namespace")
    else:
        errors.invalid(f"{at}.namespace", meta.namespace, *names.dns_label(meta.namespace))
    _labels(meta.labels, f"{at}.labels", errors)
    for key in meta.annotations:
        errors.invalid(f"{at}.annotations", key, *names.qualified_name(key.lower()))
    if sum(len(key) + len(value.encode()) for key, value in meta.annotations.items()) > _MAX_ANNOTATIONS:
        errors.too_long(f"{at}.annotations", _MAX_ANNOTATIONS)
    for finalizer in meta.finalizers:
        errors.invalid(f"{at}.finalizers", finalizer, *names.qualified_name(finalizer))


def _labels(labels: dict[str, str], at: str, errors: FieldErrors) -> None:
    for key, value in labels.items():
        errors.invalid(at, key, *names.qualified_name(key))
        errors.invalid(at, value, *names.label_value(value))


def _spec(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    if spec.terminationGracePeriodSeconds is None:
        errors.required(f"{at}.terminationGracePeriodSeconds")
    sound = check_volumes(spec, f"{at}.volumes", errors)
    check_containers(spec, sound, at, errors)
    _pod_resources(spec, f"{at}.resources", errors)
    _host_network(spec, at, errors)
    _choice(spec.restartPolicy, ("Always", "OnFailure", "Never"), f"{at}.restartPolicy", errors)
    _choice(spec.dnsPolicy, _DNS_POLICIES, f"{at}.dnsPolicy", errors)
    _labels(spec.nodeSelector, f"{at}.nodeSelector", errors)
    check_pod_security(spec, at, errors)
    if spec.affinity is not None:
        _affinity(spec.affinity, f"{at}.affinity", errors)
    _dns_config(spec, f"{at}.dnsConfig", errors)
    for index, gate in enumerate(spec.readinessGates):
        path = f"{at}.readinessGates[{index}].conditionType"
        errors.invalid(path, gate.conditionType, *names.qualified_name(gate.conditionType))
    _names(spec, at, errors)
    deadline = spec.activeDeadlineSeconds
    if deadline is not None and not 1 <= deadline <= 0x7FFFFFFF:
        errors.invalid(f"{at}.activeDeadlineSeconds", deadline, names.between(1, 0x7FFFFFFF))
    for index, toleration in enumerate(spec.tolerations):
        _toleration(toleration, f"{at}.tolerations[{index}]", errors)
    for index, alias in enumerate(spec.hostAliases):
        errors.invalid(f"{at}.hostAliases[{index}].ip", alias.ip, *names.ip_address(alias.ip))
        for number, host in enumerate(alias.hostnames):
            path = f"{at}.hostAliases[{index}].hostnames[{number}]"
            errors.invalid(path, host, *names.dns_subdomain(host))
    if spec.preemptionPolicy is not None:
        _choice(spec.preemptionPolicy, ("PreemptLowerPriority", "Never"), f"{at}.preemptionPolicy", errors)
    check_overhead(spec, f"{at}.overhead", errors)
    if spec.os is not None:
        _choice(spec.os.name, ("linux", "windows"), f"{at}.os.name", errors)
    check_windows(spec, at, errors)
    _spread(spec, f"{at}.topologySpreadConstraints", errors)


def _choice(value: str, known: tuple[str, ...], at: str, errors: FieldErrors) -> None:
    if value:
        errors.one_of(at, value, known)
    else:
        errors.required(at)


def _names(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    """Everything that names the pod on the network, or another object."""
    for field in ("hostname", "subdomain"):
        label: str = getattr(spec, field)
        if label:
            errors.invalid(f"{at}.{field}", label, *names.dns_label(label))
    for field in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        name: str | None = getattr(spec, field)
        if name:
            errors.invalid(f"{at}.{field}", name, *names.dns_subdomain(name))
    override = spec.hostnameOverride
    if override is None:
        return
    path = f"{at}.hostnameOverride"
    if spec.setHostnameAsFQDN:
        errors.forbidden(path, "may not be specified when setHostnameAsFQDN is true")
    if spec.hostNetwork:
        errors.forbidden(path, "may not be specified when hostNetwork is true")
    if len(override) > 64:
        errors.too_long(path, 64)
    errors.invalid(path, override, *names.dns_subdomain(override))


def _host_network(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    if not spec.hostNetwork:
        return
    for index, container in enumerate(spec.containers):
        for number, port in enumerate(container.ports):
            if port.hostPort != port.containerPort:
                errors.invalid(
                    f"{at}.containers[{index}].ports[{number}].hostPort",
                    port.hostPort,
                    "must match `containerPort` when `hostNetwork` is true",
                )


def _dns_config(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    config = spec.dnsConfig
    if spec.dnsPolicy == "None":
        if config is None:
            errors.required(at, "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.nameservers:
            errors.required(
                f"{at}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
            )
            return
    if config is None:
        return
    if len(config.nameservers) > 3:
        errors.invalid(f"{at}.nameservers", config.nameservers, "must not have more than 3 nameservers")
    for index, server in enumerate(config.nameservers):
        errors.invalid(f"{at}.nameservers[{index}]", server, *names.ip_address(server))
    if len(config.searches) > 32:
        errors.invalid(f"{at}.searches", config.searches, "must not have more than 32 search paths")
    if len(" ".join(config.searches)) > 2048:
        errors.invalid(
            f"{at}.searches",
            config.searches,
            "must not have more than 2048 characters (including spaces) in the search list",
        )
    for index, search in enumerate(config.searches):
        errors.invalid(f"{at}.searches[{index}]", search.removesuffix("."), *names.search_domain(search))
    for index, option in enumerate(config.options):
        if not option.name:
            errors.required(f"{at}.options[{index}]", "must not be empty")


def check_overhead(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    """The overhead that a runtime class adds: amounts that are not negative."""
    for name, amount in spec.overhead.items():
        if amount < Quantity.zero():
            errors.invalid(f"{at}.limits[{name}]", str(amount), "must be greater than or equal to 0")


def _pod_resources(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    stated = spec.resources
    if stated is None:
        return
    if stated.claims:
        errors.forbidden(f"{at}.claims", "claims may not be set for Resources at pod-level")
    check_resources(stated, at, errors, claims=set(), of_pod=True)
    bare = Pod(spec=spec)
    for name, amount in containers_total(bare, "requests").items():
        request = stated.requests.get(name)
        if request is not None and amount > request:
            detail = f"must be greater than or equal to aggregate container requests of {amount}"
            errors.invalid(f"{at}.requests[{name}]", str(request), detail)
    for name, amount in containers_total(bare, "limits").items():
        limit = stated.limits.get(name)
        if name.startswith(HUGEPAGES_PREFIX) and limit is not None and amount > limit:
            detail = f"must be greater than or equal to aggregate container limits of {amount}"
            errors.invalid(f"{at}.limits[{name}]", str(limit), detail)
    for index, container in enumerate(spec.containers):
        for name, amount in container.resources.limits.items():
            limit = stated.limits.get(name)
            if limit is not None and amount > limit:
                path = f"{at}.containers[{index}][{name}].limits"
                errors.invalid(path, str(amount), f"must be less than or equal to pod limits of {limit}")


# --- where it may run ---------------------------------------------------------


def _toleration(toleration: Toleration, at: str, errors: FieldErrors) -> None:
    operator, value = toleration.operator, toleration.value
    if toleration.key:
        errors.invalid(f"{at}.key", toleration.key, *names.qualified_name(toleration.key))
    elif operator != "Exists":
        errors.invalid(
            f"{at}.operator",
            operator,
            'operator must be Exists when `key` is empty, which means "match all values and all keys"',
        )
    if toleration.tolerationSeconds is not None and toleration.effect != "NoExecute":
        errors.invalid(
            f"{at}.effect", toleration.effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"
        )
    if operator in ("", "Equal"):
        problems = names.label_value(value)
        if problems:
            errors.invalid(f"{at}.operator", value, ";".join(problems))
    elif operator == "Exists":
        if value:
            errors.invalid(f"{at}.operator", value, "value must be empty when `operator` is 'Exists'")
    else:
        errors.one_of(f"{at}.operator", operator, ("Equal", "Exists"))
    if toleration.effect:
        errors.one_of(f"{at}.effect", toleration.effect, _EFFECTS)


def _affinity(affinity: Affinity, at: str, errors: FieldErrors) -> None:
    required, preferred = (
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    )
    node = affinity.nodeAffinity
    if node is not None:
        path = f"{at}.nodeAffinity.{required}.nodeSelectorTerms"
        selector = node.requiredDuringSchedulingIgnoredDuringExecution
        if selector is not None and not selector.nodeSelectorTerms:
            errors.required(path, "must have at least one node selector term")
        for index, term in enumerate(selector.nodeSelectorTerms if selector is not None else ()):
            _node_term(term, f"{path}[{index}]", errors)
        for index, choice in enumerate(node.preferredDuringSchedulingIgnoredDuringExecution):
            path = f"{at}.nodeAffinity.{preferred}[{index}]"
            _weight(choice.weight, path, errors)
            _node_term(choice.preference, f"{path}.preference", errors)
    for name, pods in (("podAffinity", affinity.podAffinity), ("podAntiAffinity", affinity.podAntiAffinity)):
        if pods is None:
            continue
        for index, pod_term in enumerate(pods.requiredDuringSchedulingIgnoredDuringExecution):
            _pod_term(pod_term, f"{at}.{name}.{required}[{index}]", errors)
        for index, weighted in enumerate(pods.preferredDuringSchedulingIgnoredDuringExecution):
            path = f"{at}.{name}.{preferred}[{index}]"
            _weight(weighted.weight, path, errors)
            _pod_term(weighted.podAffinityTerm, f"{path}.podAffinityTerm", errors)


def _weight(weight: int, at: str, errors: FieldErrors) -> None:
    if not 1 <= weight <= 100:
        errors.invalid(f"{at}.weight", weight, "must be in the range 1-100")


def _node_term(term: NodeSelectorTerm, at: str, errors: FieldErrors) -> None:
    for index, rule in enumerate(term.matchExpressions):
        path = f"{at}.matchExpressions[{index}]"
        if rule.operator not in ("Gt", "Lt"):
            _set_operator(rule.operator, rule.values, path, errors)
        elif len(rule.values) != 1:
            errors.required(
                f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"
            )
        errors.invalid(f"{path}.key", rule.key, *names.qualified_name(rule.key))
        for number, value in enumerate(rule.values):
            errors.invalid(f"{path}.values[{number}]", value, *names.label_value(value))
    for index, rule in enumerate(term.matchFields):
        path = f"{at}.matchFields[{index}]"
        if rule.operator not in ("In", "NotIn"):
            errors.invalid(f"{path}.operator", rule.operator, "not a valid selector operator")
        elif len(rule.values) != 1:
            errors.required(
                f"{path}.values",
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            )
        if rule.key != "metadata.name":
            errors.invalid(f"{path}.key", rule.key, "not a valid field selector key")
        for number, value in enumerate(rule.values):
            errors.invalid(f"{path}.values[{number}]", value, *names.dns_subdomain(value))


def _set_operator(operator: str, values: Sequence[str], path: str, errors: FieldErrors) -> None:
    """An operator that says whether a label is there, or is one of *values*."""
    if operator in ("In", "NotIn"):
        if not values:
            errors.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if values:
            errors.forbidden(
                f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
    else:
        errors.invalid(f"{path}.operator", operator, "not a valid selector operator")


def _selector(selector: LabelSelector | None, at: str, errors: FieldErrors) -> None:
    if selector is None:
        return
    _labels(selector.matchLabels, f"{at}.matchLabels", errors)
    for index, rule in enumerate(selector.matchExpressions):
        path = f"{at}.matchExpressions[{index}]"
        _set_operator(rule.operator, rule.values, path, errors)
        errors.invalid(f"{path}.key", rule.key, *names.qualified_name(rule.key))
        for number, value in enumerate(rule.values):
            errors.invalid(f"{path}.values[{number}]", value, *names.label_value(value))


def _pod_term(term: PodAffinityTerm, at: str, errors: FieldErrors) -> None:
    _selector(term.labelSelector, f"{at}.labelSelector", errors)
    _selector(term.namespaceSelector, f"{at}.namespaceSelector", errors)
    for namespace in term.namespaces:
        errors.invalid(f"{at}.namespace", namespace, *names.dns_label(namespace))
    if not term.topologyKey:
        errors.required(f"{at}.topologyKey", "can not be empty")
    errors.invalid(f"{at}.topologyKey", term.topologyKey, *names.qualified_name(term.topologyKey))


def _spread(spec: PodSpec, path: str, errors: FieldErrors) -> None:
    taken: set[tuple[str, str]] = set()
    for index, constraint in enumerate(spec.topologySpreadConstraints):
        at = f"{path}[{index}]"
        if constraint.maxSkew <= 0:
            errors.invalid(f"{at}.maxSkew", constraint.maxSkew, "must be greater than zero")
        if not constraint.topologyKey:
            errors.required(f"{at}.topologyKey", "can not be empty")
        errors.one_of(
            f"{at}.whenUnsatisfiable", constraint.whenUnsatisfiable, ("DoNotSchedule", "ScheduleAnyway")
        )
        kind = (constraint.topologyKey, constraint.whenUnsatisfiable)
        if kind in taken:
            errors.duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{kind[0]}, {kind[1]}}}")
        taken.add(kind)
        _selector(constraint.labelSelector, f"{at}.labelSelector", errors)
