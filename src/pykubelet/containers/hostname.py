"""A pod's hostname and domain, as its processes and its hosts file see them."""

from pykubelet.api import names
from pykubelet.api.core import Pod

_LIMIT = 63
_KERNEL_LIMIT = 64


def _check(field: str, value: str, form: str, problems: list[str]) -> None:
    if problems:
        raise ValueError(f'pod {field} "{value}" is not a valid DNS {form}: {";".join(problems)}')


def _shorten(pod: str, hostname: str) -> str:
    if len(hostname) <= _LIMIT:
        return hostname
    short = hostname[:_LIMIT].rstrip("-.")
    if not short:
        raise ValueError(f'hostname for pod "{pod}" was invalid: "{hostname}"')
    return short


def hostname_and_domain(pod: Pod, cluster_domain: str, *, override: bool = True) -> tuple[str, str]:
    """The pod's short hostname and its domain (empty without a subdomain).

    *override* is the feature gate ``HostnameOverride``.

    :raises ValueError: the spec names no valid hostname or subdomain.
    """
    spec = pod.spec
    if override and spec.hostnameOverride is not None:
        _check(
            "HostnameOverride",
            spec.hostnameOverride,
            "subdomain",
            names.dns_subdomain(spec.hostnameOverride),
        )
        return _shorten(pod.metadata.name, spec.hostnameOverride), ""
    if spec.hostname:
        _check("Hostname", spec.hostname, "label", names.dns_label(spec.hostname))
    hostname = _shorten(pod.metadata.name, spec.hostname or pod.metadata.name)
    if not spec.subdomain:
        return hostname, ""
    _check("Subdomain", spec.subdomain, "label", names.dns_label(spec.subdomain))
    return hostname, f"{spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def kernel_hostname(pod: Pod, cluster_domain: str, *, override: bool = True) -> str:
    """The hostname that the sandbox gets: the full one with ``setHostnameAsFQDN``.

    *override* is the feature gate ``HostnameOverride``.

    :raises ValueError: not valid, or longer than the kernel's 64 bytes.
    """
    hostname, domain = hostname_and_domain(pod, cluster_domain, override=override)
    if not (pod.spec.setHostnameAsFQDN and domain):
        return hostname
    full = f"{hostname}.{domain}"
    if len(full) > _KERNEL_LIMIT:
        raise ValueError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"({_KERNEL_LIMIT} characters is the max, {len(full)} characters requested)"
        )
    return full
