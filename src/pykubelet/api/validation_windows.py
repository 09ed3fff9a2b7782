"""What must hold for the fields of a pod that only concern Windows, and for the pods that are for it.

A Linux node runs no such pod; the errors tell why its manifest is refused, as the API server would.
"""

import re
from collections.abc import Iterator
from typing import Final

from . import names
from .core import Container, PodSpec, SecurityContext, WindowsSecurityContextOptions
from .fielderrors import FieldErrors

_NOT_ON_LINUX: Final = "windows options cannot be set for a linux pod"
_NOT_ON_WINDOWS: Final = "cannot be set for a windows pod"
_CREDENTIAL_LIMIT: Final = 64 << 10
_DOMAIN_LIMIT: Final = 256
_USER_LIMIT: Final = 104
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_NETBIOS: Final = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}')
_DNS_PART: Final = "[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS: Final = re.compile(rf"{_DNS_PART}(\.{_DNS_PART})*")
_BAD_IN_USER: Final = re.compile(r'["/\\:;|=,+*?<>@\[\]]')
#: Fields of the pod's spec and of its security context that only Linux knows.
_LINUX_SPEC: Final = ("hostUsers", "shareProcessNamespace")
_LINUX_FLAGS: Final = ("hostPID", "hostIPC")
_LINUX_POD: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "runAsUser",
    "runAsGroup",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_LINUX_POD_LISTS: Final = ("sysctls", "supplementalGroups")
_LINUX_CONTAINER: Final = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def check_windows(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    """The Windows options of pod and containers, and what ``os`` excludes."""
    pod = spec.securityContext
    if pod is not None:
        _options(pod.windowsOptions, f"{at}.securityContext.windowsOptions", errors)
    for own, path in _contexts(spec, at):
        _options(own.windowsOptions, f"{path}.windowsOptions", errors)
    _host_process(spec, at, errors)
    name = spec.os.name if spec.os is not None else ""
    if name == "linux":
        if pod is not None and pod.windowsOptions is not None:
            errors.forbidden(f"{at}.securityContext.windowsOptions", _NOT_ON_LINUX)
        for own, path in _contexts(spec, at):
            if own.windowsOptions is not None:
                errors.forbidden(f"{path}.windowsOptions", _NOT_ON_LINUX)
    elif name == "windows":
        _linux_fields(spec, at, errors)


def _containers(spec: PodSpec, at: str) -> Iterator[tuple[Container, str]]:
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(getattr(spec, kind)):
            yield container, f"{at}.{kind}[{index}]"


def _contexts(spec: PodSpec, at: str) -> Iterator[tuple[SecurityContext, str]]:
    for container, path in _containers(spec, at):
        if container.securityContext is not None:
            yield container.securityContext, f"{path}.securityContext"


def _linux_fields(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    given = [f"{at}.{field}" for field in _LINUX_SPEC if getattr(spec, field) is not None]
    given += [f"{at}.{field}" for field in _LINUX_FLAGS if getattr(spec, field)]
    pod = spec.securityContext
    if pod is not None:
        path = f"{at}.securityContext"
        given += [f"{path}.{field}" for field in _LINUX_POD if getattr(pod, field) is not None]
        given += [f"{path}.{field}" for field in _LINUX_POD_LISTS if getattr(pod, field)]
    for own, path in _contexts(spec, at):
        given += [f"{path}.{field}" for field in _LINUX_CONTAINER if getattr(own, field) is not None]
    for path in given:
        errors.forbidden(path, _NOT_ON_WINDOWS)


def _host_process(spec: PodSpec, at: str, errors: FieldErrors) -> None:
    pod = spec.securityContext
    shared = pod.windowsOptions.hostProcess if pod is not None and pod.windowsOptions is not None else None
    wanted = []
    for container, path in _containers(spec, at):
        context = container.securityContext
        options = context.windowsOptions if context is not None else None
        own = options.hostProcess if options is not None else None
        if shared is not None and own is not None and shared != own:
            was = "true" if shared else "false"
            errors.invalid(
                f"{path}.securityContext.windowsOptions.hostProcess",
                own,
                f"pod hostProcess value must be identical if both are specified, was {was}",
            )
        wanted.append(bool(own if own is not None else shared))
    if not any(wanted):
        return
    if not all(wanted):
        text = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        errors.invalid(at, "", text)
    if not spec.hostNetwork:
        text = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.invalid(f"{at}.hostNetwork", False, text)


def _options(options: WindowsSecurityContextOptions | None, at: str, errors: FieldErrors) -> None:
    if options is None:
        return
    name, credential, user = options.gmsaCredentialSpecName, options.gmsaCredentialSpec, options.runAsUserName
    if name is not None:
        errors.invalid(f"{at}.gmsaCredentialSpecName", name, *names.dns_subdomain(name))
    path = f"{at}.gmsaCredentialSpec"
    if credential == "":
        errors.invalid(path, credential, "gmsaCredentialSpec cannot be an empty string")
    elif credential is not None and len(credential.encode()) > _CREDENTIAL_LIMIT:
        errors.invalid(path, credential, "gmsaCredentialSpec size must be under 64 KiB")
    if user is not None:
        errors.invalid(f"{at}.runAsUserName", user, *_user_problems(user))


def _user_problems(text: str) -> list[str]:
    """What is wrong with a user, or a domain, a backslash and a user."""
    if not text:
        return ["runAsUserName cannot be an empty string"]
    if _CONTROL.search(text):
        return ["runAsUserName cannot contain control characters"]
    if text.count("\\") > 1:
        return ["runAsUserName cannot contain more than one backslash"]
    domain, backslash, user = text.rpartition("\\")
    problems = []
    if len(domain.encode()) >= _DOMAIN_LIMIT:
        problems.append(f"runAsUserName's Domain length must be under {_DOMAIN_LIMIT} characters")
    if backslash and not (_NETBIOS.fullmatch(domain) or _DNS.fullmatch(domain)):
        problems.append("runAsUserName's Domain doesn't match the NetBios nor the DNS format")
    if not user:
        problems.append("runAsUserName's User cannot be empty")
    elif len(user.encode()) > _USER_LIMIT:
        problems.append(f"runAsUserName's User length must not be longer than {_USER_LIMIT} characters")
    if user and not user.strip(". "):
        problems.append("runAsUserName's User cannot contain only periods or spaces")
    if _BAD_IN_USER.search(user):
        problems.append(r"""runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]""")
    return problems
