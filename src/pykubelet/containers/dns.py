"""The resolver configuration of a pod, from its DNS policy and the node's resolv.conf."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pykubelet.api.core import Pod, PodDNSConfig
from pykubelet.base.journal import PodRef

_MAX_SERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_CHARS = 2048
_MAX_DOMAIN = 253
_CLUSTER_OPTIONS = ("ndots:5",)
#: Largest resolver file that is read, in bytes.
MAX_FILE = 10 << 20


@dataclass(frozen=True, slots=True)
class Resolver:
    """Nameservers, search domains and options, each in their order."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DnsEvent:
    """A warning that goes with a computed configuration."""

    reason: str
    message: str
    #: It is also told about the node, in these words.
    node_message: str = ""


@dataclass(frozen=True, slots=True)
class ClusterDns:
    """What the node's configuration says of DNS."""

    servers: tuple[str, ...] = ()
    domain: str = ""
    #: The path that pods inherit from; empty for none.
    resolv_conf: str = ""
    #: The servers of pods that inherit from nothing.
    loopbacks: tuple[str, ...] = ("127.0.0.1",)


def _merge_options(*groups: Iterable[str]) -> tuple[str, ...]:
    """Later options replace earlier ones of the same name, in their place."""
    merged: dict[str, str] = {}
    for group in groups:
        for option in group:
            merged[option.partition(":")[0]] = option
    return tuple(merged.values())


def parse_resolv_conf(text: str) -> Resolver:
    """A resolv.conf: servers add up, the last ``search`` counts, options merge by name.

    :raises ValueError: a ``nameserver`` line without an address; upstream's text.
    """
    servers: list[str] = []
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    for line in text.split("\n"):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "nameserver":
            if len(words) == 1:
                raise ValueError("nameserver list is empty ")
            servers.append(words[1])
        elif words[0] == "search":
            searches = tuple(word.removesuffix(".") for word in words[1:] if word != ".")
        elif words[0] == "options":
            options = _merge_options(options, words[1:])
    return Resolver(tuple(servers), searches, options)


def _unique(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for group in groups for item in group))


def _with_pod_config(base: Resolver, extra: PodDNSConfig) -> Resolver:
    added = [f"{o.name}:{o.value}" if o.value else o.name for o in extra.options]
    return Resolver(
        _unique(base.servers, extra.nameservers),
        _unique(base.searches, extra.searches),
        _merge_options(base.options, added),
    )


def _fit_searches(searches: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    kept = [domain for domain in searches[:_MAX_SEARCHES] if len(domain) <= _MAX_DOMAIN]
    while len(" ".join(kept)) > _MAX_SEARCH_CHARS:
        kept.pop()
    return tuple(kept), len(kept) != len(searches)


def _fit(resolver: Resolver) -> tuple[Resolver, list[DnsEvent]]:
    events = []
    servers = resolver.servers[:_MAX_SERVERS]
    if servers != resolver.servers:
        text = (
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(servers)}"
        )
        events.append(DnsEvent("DNSConfigForming", text))
    searches, cut = _fit_searches(resolver.searches)
    if cut:
        text = (
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(searches)}"
        )
        events.append(DnsEvent("DNSConfigForming", text))
    return Resolver(servers, searches, resolver.options), events


def _cluster(host: Resolver, namespace: str, cluster: ClusterDns) -> Resolver:
    domain = cluster.domain
    own = (f"{namespace}.svc.{domain}", f"svc.{domain}", domain) if domain else ()
    return Resolver(cluster.servers, _unique(own, host.searches), _CLUSTER_OPTIONS)


def pod_dns(pod: Pod, host: Resolver, cluster: ClusterDns) -> tuple[Resolver, tuple[DnsEvent, ...]]:
    """The pod's configuration and the warnings that come with it."""
    policy = pod.spec.dnsPolicy
    events: list[DnsEvent] = []
    wants_cluster = policy not in ("None", "Default") and not (
        policy == "ClusterFirst" and pod.spec.hostNetwork
    )
    if policy == "None":
        resolver = Resolver()
    elif wants_cluster and cluster.servers:
        resolver = _cluster(host, pod.metadata.namespace, cluster)
    else:
        if wants_cluster:
            text = (
                'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" '
                'policy. Falling back to "Default" policy.'
            )
            meta = pod.metadata
            ref = PodRef(meta.namespace, meta.name, meta.uid)
            events.append(DnsEvent("MissingClusterDNS", f'pod: "{ref}". {text}', text))
        resolver = host
        if not cluster.resolv_conf:
            resolver = Resolver((*host.servers, *cluster.loopbacks), (".",), host.options)
    if pod.spec.dnsConfig is not None:
        resolver = _with_pod_config(resolver, pod.spec.dnsConfig)
    resolver, limits = _fit(resolver)
    return resolver, (*events, *limits)


def check_limits(host: Resolver, cluster: ClusterDns) -> str:
    """What is wrong with the node's resolver file at start-up (``CheckLimitsForResolvConf``); or empty."""
    path = cluster.resolv_conf
    room = _MAX_SEARCHES - (3 if cluster.domain else 0)
    if len(host.searches) > room:
        return f"Resolv.conf file '{path}' contains search line consisting of more than {room} domains!"
    if any(len(domain) > _MAX_DOMAIN for domain in host.searches):
        return (
            f'Resolv.conf file "{path}" contains a search path which length is more than allowed '
            f"{_MAX_DOMAIN} chars!"
        )
    if len(" ".join(host.searches)) > _MAX_SEARCH_CHARS:
        return (
            f"Resolv.conf file '{path}' contains search line which length is more than allowed "
            f"{_MAX_SEARCH_CHARS} chars!"
        )
    return ""
