"""The few places where CRI v1alpha2 differs from v1 on the wire.

Names and numbers are the same, but runtimes that only speak v1alpha2 may not know
the ``seccomp`` and ``apparmor`` messages yet: they read a string instead, which v1
keeps as a deprecated field. Calls that v1alpha2 lacks are answered Unimplemented by
the runtime itself.
"""

import copy
from typing import TypeVar

from google.protobuf.message import Message

from pykubelet.rpc import cri_v1

PACKAGE = "runtime.v1alpha2"

_M = TypeVar("_M", bound=Message)


def profile_text(profile: cri_v1.SecurityProfile) -> str:
    """A profile in the older string form."""
    if profile.profile_type == cri_v1.SecurityProfile.RuntimeDefault:
        return "runtime/default"
    if profile.profile_type == cri_v1.SecurityProfile.Localhost:
        return f"localhost/{profile.localhost_ref}"
    return "unconfined"


def _fill_sandbox(config: cri_v1.PodSandboxConfig) -> None:
    context = config.linux.security_context
    if context.HasField("seccomp") and not context.seccomp_profile_path:
        context.seccomp_profile_path = profile_text(context.seccomp)


def _fill_container(config: cri_v1.ContainerConfig) -> None:
    context = config.linux.security_context
    if context.HasField("seccomp") and not context.seccomp_profile_path:
        context.seccomp_profile_path = profile_text(context.seccomp)
    if context.HasField("apparmor") and not context.apparmor_profile:
        context.apparmor_profile = profile_text(context.apparmor)


def request(message: _M) -> _M:
    """*message* as a v1alpha2 runtime understands it; the original is not changed."""
    if not isinstance(message, cri_v1.RunPodSandboxRequest | cri_v1.CreateContainerRequest):
        return message
    changed = copy.deepcopy(message)
    if isinstance(changed, cri_v1.RunPodSandboxRequest):
        _fill_sandbox(changed.config)
    else:
        _fill_container(changed.config)
        _fill_sandbox(changed.sandbox_config)
    return changed
