"""Service accounts of this node's pods, asked for when needed; nothing is kept of them but tokens."""

from pykubelet.api.auth import TokenRequest
from pykubelet.api.objects import ServiceAccount

from .door import Api
from .errors import ClusterError
from .paths import core
from .tokens import TokenManager


class ServiceAccountReader:
    """What plug-ins that log in at registries are told of a pod's service account."""

    def __init__(self, api: Api, tokens: TokenManager) -> None:
        self._api = api
        self._tokens = tokens

    async def service_account(self, namespace: str, name: str) -> ServiceAccount:
        """The service account, as the API server has it now.

        :raises LookupError: there is none, or it cannot be read.
        """
        try:
            return await self._api.get(core("serviceaccounts", namespace, name), ServiceAccount)
        except ClusterError as error:
            raise LookupError(str(error)) from error

    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        """A valid token as *request* wants it.

        :raises LookupError: none can be had.
        """
        return await self._tokens.token(namespace, service_account, request)
