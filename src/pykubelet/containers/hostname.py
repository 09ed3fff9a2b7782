"""A pod's hostname and domain, as its processes and its hosts file see them."""

import re

from pykubelet.api.core import Pod

_LIMIT = 63
_KERNEL_LIMIT = 64
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_HELP = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
    "and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


def _label(field: str, value: str) -> None:
    if _LABEL.fullmatch(value):
        return
    help_text = _LABEL_HELP if len(value) <= _LIMIT else f"must be no more than {_LIMIT} bytes"
    raise ValueError(f'pod {field} "{value}" is not a valid DNS label: {help_text}')


def _shorten(pod: str, hostname: str) -> str:
    if len(hostname) <= _LIMIT:
        return hostname
    short = hostname[:_LIMIT].rstrip("-.")
    if not short:
        raise ValueError(f'hostname for pod "{pod}" was invalid: "{hostname}"')
    return short


def hostname_and_domain(pod: Pod, cluster_domain: str) -> tuple[str, str]:
    """The pod's short hostname and its domain (empty without a subdomain).

    :raises ValueError: the spec names no valid hostname or subdomain.
    """
    spec = pod.spec
    if spec.hostnameOverride is not None:
        return _shorten(pod.metadata.name, spec.hostnameOverride), ""
    if spec.hostname:
        _label("Hostname", spec.hostname)
    hostname = _shorten(pod.metadata.name, spec.hostname or pod.metadata.name)
    if not spec.subdomain:
        return hostname, ""
    _label("Subdomain", spec.subdomain)
    return hostname, f"{spec.subdomain}.{pod.metadata.namespace}.svc.{cluster_domain}"


def kernel_hostname(pod: Pod, cluster_domain: str) -> str:
    """The hostname that the sandbox gets: the full one with ``setHostnameAsFQDN``.

    :raises ValueError: not valid, or longer than the kernel's 64 bytes.
    """
    hostname, domain = hostname_and_domain(pod, cluster_domain)
    if not (pod.spec.setHostnameAsFQDN and domain):
        return hostname
    full = f"{hostname}.{domain}"
    if len(full) > _KERNEL_LIMIT:
        raise ValueError(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"({_KERNEL_LIMIT} characters is the max, {len(full)} characters requested)"
        )
    return full
