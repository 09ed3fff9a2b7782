"""How requests to the API server fail: it refused, or it could not be reached."""

from pykubelet.api.machinery import Status

#: Characters of an error's text that are kept: bodies may hold what must not go into a log.
_TEXT_LIMIT = 512


class ClusterError(Exception):
    """A request to the API server came to nothing."""


class Unreachable(ClusterError):
    """No answer: no connection, a broken one, a time-out, or something that is no API server's answer."""


class NotAsked(Unreachable):
    """No connection came about: the server cannot have done what was to be asked."""


class Refused(ClusterError):
    """The API server answered with an error."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        """*code* is HTTP's, *reason* metav1's StatusReason, *retry_after* is in seconds."""
        super().__init__(message[:_TEXT_LIMIT] or f"the server answered with status {code}")
        self.code = code
        self.reason = reason
        self.retry_after = retry_after

    @classmethod
    def from_status(cls, status: Status, code: int, retry_after: float | None = None) -> "Refused":
        """The error that a ``Status`` tells; *code* is HTTP's own."""
        told = status.details.retryAfterSeconds if status.details is not None else 0
        wait = retry_after if retry_after is not None else told or None
        return cls(status.code or code, status.reason, status.message, retry_after=wait)

    @property
    def not_found(self) -> bool:
        """There is no such object."""
        return self.code == 404

    @property
    def already_exists(self) -> bool:
        """There is one of that name already."""
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """The object (its version or UID) is not the one that was meant."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def unauthorized(self) -> bool:
        """The server does not know us."""
        return self.code == 401

    @property
    def forbidden(self) -> bool:
        """The server knows us and says no."""
        return self.code == 403

    @property
    def expired(self) -> bool:
        """The resourceVersion is too old to go on from: list anew."""
        return self.code == 410 or self.reason in {"Expired", "Gone"}

    @property
    def version_too_large(self) -> bool:
        """The server has not reached the resourceVersion yet, and may never: list without one."""
        return self.code == 504 and "Too large resource version" in str(self)

    @property
    def passing(self) -> bool:
        """It may well succeed later: too many requests, or a failure of the server's own."""
        return self.code == 429 or self.code >= 500
