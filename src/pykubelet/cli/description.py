"""A pod in words, laid out as ``kubectl describe pod`` does. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pykubelet.cli.podrows import human_duration, moment
from pykubelet.cli.volume_usage import usage_words

Object = Mapping[str, Any]

_NONE = "<none>"
#: Width of the first column of a container's facts.
_PROBES = (("livenessProbe", "Liveness"), ("readinessProbe", "Readiness"), ("startupProbe", "Startup"))


def describe_pod(details: Object, now: datetime) -> list[str]:
    """Lines about the pod in *details* (the admin socket's answer)."""
    pod = details["pod"]
    meta, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    out = _head(pod, meta, spec, status)
    allocated = details.get("allocated") or {}
    out += _resize(spec.get("resources"), allocated.get(""), status.get("resources"), 0)
    for title, kind, statuses in (
        ("Init Containers", "initContainers", "initContainerStatuses"),
        ("Containers", "containers", "containerStatuses"),
        ("Ephemeral Containers", "ephemeralContainers", "ephemeralContainerStatuses"),
    ):
        if spec.get(kind):
            out.append(f"{title}:")
            by_name = {one["name"]: one for one in status.get(statuses) or []}
            for container in spec[kind]:
                name = container["name"]
                out += _container(container, by_name.get(name, {}), allocated.get(name))
    if status.get("conditions"):
        out += ["Conditions:", *_columns(2, [("Type", "Status"), *_conditions(status["conditions"])])]
    out += _volumes(spec.get("volumes") or [], details.get("volumes") or [], now)
    out.append(_line("QoS Class", status.get("qosClass") or "BestEffort", 29))
    out += _list("Node-Selectors", [f"{k}={v}" for k, v in sorted((spec.get("nodeSelector") or {}).items())])
    out += _list("Tolerations", [_toleration(one) for one in spec.get("tolerations") or []])
    pulls = details.get("pulls") or []
    if pulls:
        out += ["Pulls:", *(_line(one["container"] or "volume", one["text"], 27, 2) for one in pulls)]
    worker = details.get("worker")
    if worker:
        cause = f" ({worker['cause']})" if worker.get("cause") else ""
        out.append(_line("Worker", f"{worker['phase']}{cause}", 29))
    return [*out, *_events(details.get("events") or [], now)]


def _line(key: str, value: object, width: int = 18, indent: int = 0) -> str:
    # A key that fills the column still needs a space.
    return f"{' ' * indent}{f'{key}:'.ljust(width - 1)} {value}".rstrip()


def _list(key: str, values: Sequence[str]) -> list[str]:
    lines = [_line(key, values[0] if values else _NONE, 29)]
    return [*lines, *(" " * 29 + value for value in values[1:])]


def _time(text: str | None) -> str:
    then = moment(text)
    return then.strftime("%a, %d %b %Y %H:%M:%S +0000") if then is not None else ""


def _head(pod: Object, meta: Object, spec: Object, status: Object) -> list[str]:
    out = [_line("Name", meta.get("name", "")), _line("Namespace", meta.get("namespace", ""))]
    if spec.get("priority") is not None:
        out.append(_line("Priority", spec["priority"]))
    if spec.get("priorityClassName"):
        out.append(_line("Priority Class Name", spec["priorityClassName"]))
    host = f"{spec.get('nodeName') or _NONE}/{status.get('hostIP', '')}".rstrip("/")
    out.append(_line("Node", host))
    if status.get("startTime"):
        out.append(_line("Start Time", _time(status["startTime"])))
    out += _map("Labels", meta.get("labels") or {}, "=")
    out += _map("Annotations", meta.get("annotations") or {}, ": ")
    if meta.get("deletionTimestamp"):
        grace = meta.get("deletionGracePeriodSeconds", 0)
        out.append(_line("Status", f"Terminating (since {_time(meta['deletionTimestamp'])})"))
        out.append(_line("Termination Grace Period", f"{grace}s"))
    else:
        out.append(_line("Status", status.get("phase") or "Unknown"))
    for key in ("reason", "message"):
        if status.get(key):
            out.append(_line(key.title(), status[key]))
    out.append(_line("IP", status.get("podIP", "")))
    addresses = [one.get("ip", "") for one in status.get("podIPs") or []]
    out += ["IPs:", *(_line("IP", one, 15, 2) for one in addresses)] if addresses else [f"IPs: {_NONE}"]
    return out


def _map(key: str, values: Mapping[str, str], joint: str) -> list[str]:
    shown = [f"{name}{joint}{_cut(value)}" for name, value in sorted(values.items())] or [_NONE]
    return [_line(key, shown[0]), *(" " * 18 + line for line in shown[1:])]


def _cut(value: str) -> str:
    line = value.replace("\n", "\\n")
    return line if len(line) <= 140 else f"{line[:137]}..."


def _container(spec: Object, status: Object, allocated: Object | None) -> list[str]:
    def line(key: str, value: object) -> str:
        return _line(key, value, 16, 4)

    ports = spec.get("ports") or []
    out = [f"  {spec['name']}:", line("Container ID", status.get("containerID", ""))]
    out += [line("Image", spec.get("image", "")), line("Image ID", status.get("imageID", ""))]
    named = ", ".join(
        f"{one['containerPort']}/{one.get('protocol') or 'TCP'}"
        + (f" ({one['name']})" if one.get("name") else "")
        for one in ports
    )
    hosts = ", ".join(f"{one.get('hostPort', 0)}/{one.get('protocol') or 'TCP'}" for one in ports)
    out += [line("Port" if len(ports) < 2 else "Ports", named or _NONE)]
    out += [line("Host Port" if len(ports) < 2 else "Host Ports", hosts or _NONE)]
    for key, title in (("command", "Command"), ("args", "Args")):
        if spec.get(key):
            out += [f"    {title}:", *(f"      {_cut(word)}" for word in spec[key])]
    if status:
        out += _state("State", status.get("state") or {})
        if status.get("lastState"):
            out += _state("Last State", status["lastState"])
        out += [line("Ready", bool(status.get("ready")))]
        out += [line("Restart Count", status.get("restartCount", 0))]
    resources = spec.get("resources") or {}
    for key in ("limits", "requests"):
        if resources.get(key):
            amounts = sorted(resources[key].items())
            out += [f"    {key.title()}:", *(_line(name, value, 14, 6) for name, value in amounts)]
    out += _resize(resources, allocated, status.get("resources"), 4)
    for key, title in _PROBES:
        if spec.get(key):
            out.append(line(title, _probe(spec[key])))
    out += _environment(spec)
    mounts = spec.get("volumeMounts") or []
    out.append("    Mounts:" if mounts else f"    Mounts:       {_NONE}")
    for mount in mounts:
        access = "ro" if mount.get("readOnly") else "rw"
        path = f',path="{mount["subPath"]}"' if mount.get("subPath") else ""
        out.append(f"      {mount['mountPath']} from {mount['name']} ({access}{path})")
    return out


def _resize(wanted: Object | None, allocated: Object | None, real: Object | None, indent: int) -> list[str]:
    """What is wanted, allocated and in force of resources, where the first two, or the last two, differ."""
    if wanted is None or allocated is None:
        return []
    rows = []
    for kind in ("limits", "requests"):
        lists = [(given or {}).get(kind) or {} for given in (wanted, allocated, real)]
        for name in sorted({*lists[0], *lists[1]}):
            amounts = [str(each.get(name, _NONE)) for each in lists]
            same = amounts[0] == amounts[1] and (not real or amounts[1] == amounts[2])
            if not same:
                rows.append((f"{name} {kind[:-1]}", *amounts))
    if not rows:
        return []
    table = [("Resize:", "Wanted", "Allocated", "In force"), *rows]
    return _columns(indent, table)


def _state(title: str, state: Object) -> list[str]:
    def line(key: str, value: object) -> str:
        return _line(key, value, 14, 6)

    head = f"    {f'{title}:'.ljust(16)}"
    if state.get("running") is not None:
        return [f"{head}Running", line("Started", _time(state["running"].get("startedAt")))]
    if state.get("terminated") is not None:
        ended = state["terminated"]
        out = [f"{head}Terminated"]
        out += [line("Reason", ended["reason"])] if ended.get("reason") else []
        out += [line("Message", _cut(ended["message"]))] if ended.get("message") else []
        out += [line("Exit Code", ended.get("exitCode", 0))]
        out += [line("Signal", ended["signal"])] if ended.get("signal") else []
        out += [line("Started", _time(ended.get("startedAt")))]
        return [*out, line("Finished", _time(ended.get("finishedAt")))]
    waiting = state.get("waiting") or {}
    out = [f"{head}Waiting"]
    out += [line("Reason", waiting["reason"])] if waiting.get("reason") else []
    out += [line("Message", _cut(waiting["message"]))] if waiting.get("message") else []
    return out


def _probe(probe: Object) -> str:
    times = (
        f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s "
        f"period={probe.get('periodSeconds', 10)}s #success={probe.get('successThreshold', 1)} "
        f"#failure={probe.get('failureThreshold', 3)}"
    )
    if probe.get("exec"):
        return f"exec [{' '.join(probe['exec'].get('command') or [])}] {times}"
    if probe.get("httpGet"):
        get = probe["httpGet"]
        scheme = str(get.get("scheme") or "HTTP").lower()
        path = str(get.get("path") or "/")
        return f"http-get {scheme}://{get.get('host', '')}:{get.get('port')}{path} {times}"
    if probe.get("tcpSocket"):
        tcp = probe["tcpSocket"]
        return f"tcp-socket {tcp.get('host', '')}:{tcp.get('port')} {times}"
    if probe.get("grpc"):
        return f"grpc <pod>:{probe['grpc'].get('port')} {probe['grpc'].get('service') or ''} {times}"
    return f"unknown {times}"


def _environment(spec: Object) -> list[str]:
    out: list[str] = []
    for source in spec.get("envFrom") or []:
        for kind, title in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            if source.get(kind):
                optional = str(bool(source[kind].get("optional"))).lower()
                out.append(f"      {source[kind].get('name')}  {title}  Optional: {optional}")
    out = ["    Environment Variables from:", *out] if out else []
    env = spec.get("env") or []
    if not env:
        return [*out, f"    Environment:  {_NONE}"]
    width = max(len(one["name"]) for one in env) + 3
    lines = [f"      {(one['name'] + ':').ljust(width)}{_value(one)}".rstrip() for one in env]
    return [*out, "    Environment:", *lines]


def _value(one: Object) -> str:
    source = one.get("valueFrom") or {}
    if source.get("fieldRef"):
        return f" ({source['fieldRef'].get('apiVersion') or 'v1'}:{source['fieldRef'].get('fieldPath')})"
    if source.get("resourceFieldRef"):
        ref = source["resourceFieldRef"]
        return f" ({ref.get('resource')})"
    for kind, title in (("secretKeyRef", "secret"), ("configMapKeyRef", "config map")):
        if source.get(kind):
            ref = source[kind]
            optional = str(bool(ref.get("optional"))).lower()
            return f"<set to the key '{ref.get('key')}' of {title} '{ref.get('name')}'>  Optional: {optional}"
    return _cut(str(one.get("value", "")))


def _conditions(conditions: Iterable[Object]) -> list[tuple[str, str]]:
    return [(str(one.get("type")), str(one.get("status"))) for one in conditions]


def _volumes(volumes: Sequence[Object], stories: Sequence[Object], now: datetime) -> list[str]:
    if not volumes:
        return [_line("Volumes", _NONE, 29)]
    told = {story["volume"]: story for story in stories}
    out = ["Volumes:"]
    for volume in volumes:
        out.append(f"  {volume['name']}:")
        kind = next((key for key in volume if key != "name"), "emptyDir")
        out.append(_line("Type", kind[:1].upper() + kind[1:], 12, 4))
        for key, value in (volume.get(kind) or {}).items():
            if isinstance(value, str | int | bool):
                out.append(_line(key[:1].upper() + key[1:], value, 12, 4))
        story = told.get(volume["name"])
        if story is not None:
            out += _volume_story(story)
            usage = usage_words(story.get("usage") or {}, now)
            out += [_line(title, words, 12, 4) for title, words in usage]
    return out


def _volume_story(story: Object) -> list[str]:
    """Where a volume stands, and why it waits."""
    step = f", {story['step']} failed" if story.get("step") else ""
    error = f": {story['error']}" if story.get("error") else ""
    out = [_line("State", f"{story['state']}{step}{error}", 12, 4)]
    if story.get("device"):
        out.append(_line("Device", story["device"], 12, 4))
    if story.get("claim"):
        bound = story.get("persistent_volume")
        behind = f" is bound to PersistentVolume {bound}" if bound else ""
        out.append(_line("Claim", f"{story['claim']}{behind}", 12, 4))
    if story.get("waits_for"):
        out.append(_line("Waits for", story["waits_for"], 12, 4))
    if story["state"] != "mounted":
        tries = f", {story['failures']} failed" if story.get("failures") else ""
        out.append(_line("Since", f"{story.get('since', 0.0):.0f}s{tries}", 12, 4))
    if story.get("next_try") is not None:
        out.append(_line("Next try", f"in {story['next_try']:.0f}s", 12, 4))
    return out


def _toleration(one: Object) -> str:
    text = str(one.get("key") or "")
    if one.get("value"):
        text += f"={one['value']}"
    if one.get("effect"):
        text += f":{one['effect']}"
    if one.get("operator") == "Exists":
        text += " op=Exists"
    if one.get("tolerationSeconds") is not None:
        text += f" for {one['tolerationSeconds']}s"
    return text.strip()


def _events(events: Sequence[Object], now: datetime) -> list[str]:
    if not events:
        return [_line("Events", _NONE, 29)]
    rows = [("Type", "Reason", "Age", "From", "Message"), ("----", "------", "----", "----", "-------")]
    for event in events:
        age = _ago(event["last"], now)
        if event.get("count", 1) > 1:
            age += f" (x{event['count']} over {_ago(event['first'], now)})"
        rows.append((event["type"], event["reason"], age, "kubelet", event["message"].strip()))
    return ["Events:", *_columns(2, rows)]


def _ago(ns: int, now: datetime) -> str:
    then = datetime.fromtimestamp(ns / 1e9, UTC)
    return human_duration((now - then).total_seconds())


def _columns(indent: int, rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        " " * indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
