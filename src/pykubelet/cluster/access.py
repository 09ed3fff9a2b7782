"""One API server and one user of it, wherever that was told: what clients and credentials are made of.

Nothing here tells a secret in its repr.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pykubelet.base.files import read_limited
from pykubelet.base.proxies import Proxy

#: Bytes of a file with certificates or a key.
_LIMIT: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class Pem:
    """Certificates or a key: a file that may change, or bytes."""

    path: Path | None = None
    data: bytes = field(default=b"", repr=False)

    def read(self) -> bytes:
        """The bytes; blocking for a file.

        :raises OSError: the file cannot be read.
        :raises ValueError: it is too large.
        """
        return self.data if self.path is None else read_limited(self.path, _LIMIT)


@dataclass(frozen=True, slots=True)
class ExecConfig:
    """A command that prints credentials."""

    command: str
    api_version: str
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    install_hint: str = ""
    #: The cluster as the plug-in is told of it, if it wants to be.
    cluster_info: dict[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """One API server and one user of it. Tells no secret in its repr."""

    #: The base URL, without a slash at its end.
    server: str
    #: The name that the server's certificate must bear; empty for the URL's host.
    server_name: str = ""
    ca: Pem | None = None
    insecure: bool = False
    proxy: Proxy | None = None
    compression: bool = True
    certificate: Pem | None = None
    key: Pem | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    exec: ExecConfig | None = None
    #: Headers that ask to be treated as somebody else.
    impersonation: tuple[tuple[str, str], ...] = ()
