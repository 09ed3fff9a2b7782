"""Service accounts, as plug-ins for registries are told of them."""

from typing import Any

import pytest

from pykubelet.api.auth import TokenRequest
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ServiceAccount
from pykubelet.cluster.errors import Refused
from pykubelet.cluster.service_accounts import ServiceAccountReader


class AccountApi:
    """The part of ``Api`` that is used."""

    async def get(self, path: str, kind: Any) -> Any:
        if path != "/api/v1/namespaces/ns/serviceaccounts/robot":
            raise Refused(404, "NotFound", 'serviceaccounts "other" not found')
        return ServiceAccount(metadata=ObjectMeta(name="robot", uid="u", annotations={"a": "b"}))


class Tokens:
    async def token(self, namespace: str, service_account: str, request: TokenRequest) -> TokenRequest:
        assert (namespace, service_account) == ("ns", "robot")
        return request


async def test_what_is_told() -> None:
    reader = ServiceAccountReader(AccountApi(), Tokens())  # type: ignore[arg-type]
    assert (await reader.service_account("ns", "robot")).metadata.annotations == {"a": "b"}
    with pytest.raises(LookupError, match='serviceaccounts "other" not found'):
        await reader.service_account("ns", "other")
    request = TokenRequest()
    assert await reader.token("ns", "robot", request) is request
