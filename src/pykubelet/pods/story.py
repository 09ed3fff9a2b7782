"""How observed facts are told: the causes of orders, and messages that several orders share."""

from pykubelet.base.clock import from_ns
from pykubelet.base.gotext import rfc3339
from pykubelet.cri.types import ContainerState, ContainerStatus


def ended(status: ContainerStatus) -> str:
    """How a container ended, or what state it is in."""
    if status.state is not ContainerState.EXITED:
        return f"{status.name} is in state {status.state.name.lower()}"
    reason = f" ({status.reason})" if status.reason else ""
    when = f" at {rfc3339(from_ns(status.finished_at))}" if status.finished_at else ""
    return f"{status.name} exited with code {status.exit_code}{reason}{when}"


def unknown_message(what: str) -> str:
    """Why a container in unknown state is killed; *what* is ``Container`` or ``Init container``."""
    return f'{what} is in "unknown" state, try killing it before restart'
