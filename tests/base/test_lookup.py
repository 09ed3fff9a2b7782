"""Names are looked up beside one another, each once at a time."""

import asyncio
import socket
import threading

import pytest

from pykubelet.base import lookup
from pykubelet.base.lookup import HttpResolver, Lookups
from pykubelet.base.tasks import TaskOwner


class Resolver:
    """Stands in for the machine's; names in ``slow`` wait until they are let go."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow = threading.Event()

    def getaddrinfo(self, host, port, **more):
        self.asked.append(host)
        if host.startswith("slow"):
            self.slow.wait(10)
        if host == "gone":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 0))]


@pytest.fixture
def resolver(monkeypatch) -> Resolver:
    made = Resolver()
    monkeypatch.setattr(lookup.socket, "getaddrinfo", made.getaddrinfo)
    return made


@pytest.fixture
async def tasks():
    owner = TaskOwner("test")
    yield owner
    await owner.close()


async def test_slow_names_hold_up_no_other_and_no_thread_pool(resolver, tasks) -> None:
    lookups = Lookups()
    waits = [tasks.spawn("one", lookups.addresses(f"slow{number}")) for number in range(40)]
    same = tasks.spawn("same", lookups.addresses("slow0"))
    assert await lookups.addresses("quick") == [(socket.AF_INET, "192.0.2.7")]
    assert await asyncio.to_thread(lambda: "free") == "free"
    resolver.slow.set()
    assert len(await asyncio.gather(*waits, same)) == 41
    assert resolver.asked.count("slow0") == 1
    # What was known once is asked again: a name may move.
    await lookups.addresses("quick")
    assert resolver.asked.count("quick") == 2


async def test_who_gives_up_leaves_the_others_their_answer(resolver, tasks) -> None:
    lookups = Lookups()
    other = tasks.spawn("other", lookups.addresses("slow"))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(lookups.addresses("slow"), 0.01)
    resolver.slow.set()
    assert await other == [(socket.AF_INET, "192.0.2.7")]


async def test_addresses_are_not_looked_up(resolver) -> None:
    assert await Lookups().addresses("fd00::1") == [(socket.AF_INET6, "fd00::1")]
    assert resolver.asked == []


async def test_an_unknown_name(resolver) -> None:
    with pytest.raises(socket.gaierror):
        await Lookups().addresses("gone")


@pytest.mark.parametrize("text", ["a\0b", "a" * 64])
async def test_what_can_be_no_name(text) -> None:
    async with asyncio.timeout(10):
        with pytest.raises(socket.gaierror):
            await Lookups().addresses(text)


async def test_a_name_that_no_thread_could_look_up_is_looked_up_again(resolver, monkeypatch) -> None:
    lookups = Lookups()

    def too_many(_thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", too_many)
        with pytest.raises(socket.gaierror, match="can't start new thread"):
            await lookups.addresses("shop")
    async with asyncio.timeout(10):
        assert await lookups.addresses("shop") == [(socket.AF_INET, "192.0.2.7")]


async def test_for_http_clients(resolver) -> None:
    found = await HttpResolver(Lookups()).resolve("shop", 80, socket.AF_UNSPEC)
    assert [(one["host"], one["port"], one["hostname"]) for one in found] == [("192.0.2.7", 80, "shop")]
