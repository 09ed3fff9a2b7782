"""What is kept of a plug-in's answers, and for whom."""

import asyncio
from dataclasses import dataclass, field

import pytest

from pykubelet.api.auth import TokenRequestStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ServiceAccount
from pykubelet.base.clock import LoopClock
from pykubelet.base.duration import Duration
from pykubelet.base.journal import PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.containers.credentials import provider as module
from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.keyring import Source
from pykubelet.containers.credentials.provider import Provider
from pykubelet.containers.credentials.provider_exec import AuthConfig, PluginError, Response
from pykubelet.containers.credentials.provider_types import (
    CredentialProviderV1,
    ServiceAccountTokenAttributes,
)

pytestmark = pytest.mark.looptime(start=0)
POD = PodRef("ns", "p", "u")


@dataclass
class Plugin:
    """The program, and what it was asked."""

    asked: list = field(default_factory=list)
    key_type: str = "Image"
    duration: float | None = None
    seconds: float = 1.0
    error: PluginError | None = None
    password: str = ""

    async def __call__(self, command, environ, api_version, image, *, token, annotations):
        self.asked.append((image, token, dict(annotations)))
        await asyncio.sleep(self.seconds)
        if self.error is not None:
            raise self.error
        password = self.password or f"p{len(self.asked)}"
        duration = None if self.duration is None else Duration.of(self.duration)
        return Response(
            cacheKeyType=self.key_type, cacheDuration=duration, auth={"*.io": AuthConfig("u", password)}
        )


@dataclass
class Accounts:
    annotations: dict = field(default_factory=lambda: {"need": "1", "may": "2", "other": "3"})
    error: str = ""
    requests: list = field(default_factory=list)

    async def service_account(self, namespace, name):
        if self.error:
            raise LookupError(self.error)
        return ServiceAccount(metadata=ObjectMeta(name=name, uid="sa-uid", annotations=self.annotations))

    async def token(self, namespace, service_account, request):
        self.requests.append((namespace, service_account, request))
        request.status = TokenRequestStatus(token=f"token-{request.spec.boundObjectRef.name}")
        return request


@pytest.fixture
def plugin(monkeypatch):
    made = Plugin()
    monkeypatch.setattr(module, "ask", made)
    return made


@pytest.fixture
def make(told):
    def making(accounts=None, metrics=None, **tokens):
        wants = None
        if tokens:
            wants = ServiceAccountTokenAttributes(
                serviceAccountTokenAudience="aud",
                **{"cacheType": "ServiceAccount", "requireServiceAccount": True, **tokens},
            )
        config = CredentialProviderV1(
            name="plug",
            matchImages=["*.io"],
            defaultCacheDuration=Duration.of(10),
            apiVersion="credentialprovider.kubelet.k8s.io/v1",
            tokenAttributes=wants,
        )
        return Provider(config, "/bin", LoopClock(), told, metrics or Metrics(), accounts or Accounts())

    return making


async def password(provider, image, pod=POD, account=""):
    logins, _ = await provider.logins(image, pod, account)
    return logins["*.io"].password if logins else ""


async def test_only_images_that_it_is_for(make, plugin):
    assert await make().logins("r.org/a", POD, "") == ({}, None)
    assert plugin.asked == []


@pytest.mark.parametrize(
    ("key_type", "same", "other_image", "other_registry"),
    [("Image", True, False, False), ("Registry", True, True, False), ("Global", True, True, True)],
)
async def test_what_an_answer_holds_for(make, plugin, key_type, same, other_image, other_registry):
    plugin.key_type = key_type
    provider = make()
    assert await password(provider, "r.io/a") == "p1"
    for image, kept in (("r.io/a", same), ("r.io/b", other_image), ("s.io/a", other_registry)):
        before = len(plugin.asked)
        await password(provider, image)
        assert (len(plugin.asked) == before) is kept


@pytest.mark.parametrize(("duration", "kept_for"), [(None, 10), (3, 3), (0, 0)])
async def test_how_long_an_answer_holds(make, plugin, duration, kept_for):
    plugin.duration = duration
    provider = make()
    await password(provider, "r.io/a")
    await asyncio.sleep(max(0, kept_for - 1))
    assert await password(provider, "r.io/a") == ("p1" if kept_for else "p2")
    await asyncio.sleep(2)
    assert await password(provider, "r.io/a") == ("p2" if kept_for else "p3")


async def test_who_asks_the_same_waits_for_one_run(make, plugin):
    plugin.duration = 0
    provider = make()
    first = asyncio.gather(password(provider, "r.io/a"), password(provider, "r.io/a"))
    await asyncio.sleep(0.5)
    first_left = asyncio.gather(password(provider, "r.io/a"))
    await asyncio.sleep(0)
    first_left.cancel()
    assert await first == ["p1", "p1"]
    assert len(plugin.asked) == 1


async def test_failures_are_told_and_counted(make, plugin, told):
    metrics = Metrics()
    provider = make(metrics=metrics)
    plugin.error = PluginError("exit status 1", run=True)
    assert await provider.logins("r.io/a", POD, "") == ({}, None)
    plugin.error, plugin.key_type = None, "Odd"
    assert await provider.logins("r.io/a", POD, "") == ({}, None)
    assert told.decisions == ["CredentialProviderFailed"] * 2
    text = metrics.render().decode()
    assert 'kubelet_credential_provider_plugin_errors_total{plugin_name="plug"} 1' in text
    assert 'kubelet_credential_provider_plugin_duration_count{plugin_name="plug"} 2' in text


async def test_it_is_told_of_the_service_account(make, plugin):
    accounts = Accounts()
    provider = make(
        accounts,
        requiredServiceAccountAnnotationKeys=["need"],
        optionalServiceAccountAnnotationKeys=["may", "may-not"],
    )
    logins, source = await provider.logins("r.io/a", POD, "robot")
    assert logins == {"*.io": Login("u", "p1")}
    assert source == Source("serviceaccount", "sa-uid", "ns", "robot")
    assert plugin.asked == [("r.io/a", "token-p", {"need": "1", "may": "2"})]
    [(namespace, name, request)] = accounts.requests
    assert (namespace, name, request.metadata.uid) == ("ns", "robot", "sa-uid")
    assert request.spec.audiences == ["aud"]
    assert (request.spec.boundObjectRef.kind, request.spec.boundObjectRef.uid) == ("Pod", "u")


async def test_an_answer_for_the_account_or_for_its_token(make, plugin):
    other = PodRef("ns", "p2", "u2")
    for cache_type, runs in (("ServiceAccount", 1), ("Token", 2)):
        plugin.asked.clear()
        provider = make(cacheType=cache_type)
        await password(provider, "r.io/a", POD, "robot")
        await password(provider, "r.io/a", other, "robot")
        assert len(plugin.asked) == runs
        await password(provider, "r.io/a", POD, "other")
        assert len(plugin.asked) == runs + 1


async def test_when_it_is_not_run(make, plugin, told):
    assert await password(make(requireServiceAccount=True), "r.io/a", POD, "") == ""
    lacks = make(Accounts({}), requiredServiceAccountAnnotationKeys=["need"])
    assert await password(lacks, "r.io/a", POD, "robot") == ""
    assert (plugin.asked, told.decisions) == ([], [])
    assert await password(make(Accounts(error="gone")), "r.io/a", POD, "robot") != ""
    assert await password(make(Accounts(error="gone"), cacheType="Token"), "r.io/a", POD, "robot") == ""
    assert told.decisions == ["CredentialProviderFailed"]


async def test_it_may_run_without_an_account(make, plugin):
    assert await password(make(requireServiceAccount=False), "r.io/a", POD, "") == "p1"
    assert plugin.asked == [("r.io/a", "", {})]


async def test_a_token_given_back_needs_the_cache_type_for_it(make, plugin):
    plugin.password = "token-p"
    assert await password(make(cacheType="ServiceAccount"), "r.io/a", POD, "robot") == ""
    assert await password(make(cacheType="Token"), "r.io/a", POD, "robot") == "token-p"
