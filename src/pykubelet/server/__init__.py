"""Serving the node: ports 10250, 10255 and 10248, and the admin socket of the local command line."""

from .access import AlwaysAllow, AlwaysDeny, check_standalone_auth
from .admin import AdminServer
from .certificates import host_name
from .doors import (
    ApiError,
    Attributes,
    Authorizer,
    EventView,
    HealthCheck,
    LogRequest,
    NodeApi,
    ServingCertificate,
    StreamRequest,
    TokenAuthenticator,
    User,
    VolumeView,
    WorkerView,
)
from .listener import ListenError
from .service import KubeletServer
from .tls import TlsError
from .webhook import WebhookAuthorizer, WebhookTokens

__all__ = [
    "AdminServer",
    "AlwaysAllow",
    "AlwaysDeny",
    "ApiError",
    "Attributes",
    "Authorizer",
    "EventView",
    "HealthCheck",
    "KubeletServer",
    "ListenError",
    "LogRequest",
    "NodeApi",
    "ServingCertificate",
    "StreamRequest",
    "TlsError",
    "TokenAuthenticator",
    "User",
    "VolumeView",
    "WebhookAuthorizer",
    "WebhookTokens",
    "WorkerView",
    "check_standalone_auth",
    "host_name",
]
