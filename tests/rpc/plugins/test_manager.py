"""The plug-in watcher on real sockets: who is taken, told, tried again and let go."""

import asyncio
import shutil
import socket
from contextlib import AsyncExitStack

import pytest
from tests.csidriver.driver import REGISTRATION, Registration, Witness
from tests.csidriver.files import Files
from tests.csidriver.serving import SocketServer

from pykubelet.base.clock import SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.rpc.plugins import PluginManager, PluginRefusedError
from pykubelet.rpc.plugins import watch as watch_module

NAME = "a.example"


class Handler:
    """Takes plug-ins; keeps what it was called with, refuses what a test says."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...]] = []
        self.invalid = ""
        self.refusals: list[Exception] = []
        self.hold: asyncio.Event | None = None
        self.inside = 0

    def validate(self, name, endpoint, versions):
        self.calls.append(("validate", name, endpoint, *versions))
        if self.invalid:
            raise PluginRefusedError(self.invalid)

    async def register(self, name, endpoint, versions):
        self.calls.append(("register", name, endpoint, *versions))
        self.inside += 1
        assert self.inside == 1
        try:
            await (self.hold.wait() if self.hold else asyncio.sleep(0.01))
        finally:
            self.inside -= 1
        if self.refusals:
            raise self.refusals.pop(0)

    async def deregister(self, name, endpoint):
        assert self.inside == 0
        self.calls.append(("deregister", name, endpoint))

    def count(self, call: str) -> int:
        return sum(entry[0] == call for entry in self.calls)


class Story:
    """The journal."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, dict]] = []

    def record(self, decision, text, *, pod=None, container="", cause="", **facts):
        self.entries.append((decision, text, {"cause": cause, **facts}))

    def of(self, decision: str) -> list[tuple[str, dict]]:
        return [(text, facts) for what, text, facts in self.entries if what == decision]


class World:
    """A registry directory, plug-ins in it, and the watcher."""

    def __init__(self, tmp_path) -> None:
        self.registry = tmp_path / "r"
        self.registry.mkdir()
        self.tmp_path = tmp_path
        self.handler = Handler()
        self.story = Story()
        self.metrics = Metrics()
        self.stack = AsyncExitStack()
        self.manager = self.new_manager()

    def new_manager(self, **more) -> PluginManager:
        numbers = {"first": 0.05, "longest": 0.2} | more
        manager = PluginManager(
            self.registry, clock=SystemClock(), journal=self.story, metrics=Metrics(), **numbers
        )
        manager.add_handler("CSIPlugin", self.handler)
        return manager

    async def plugin(self, path: str = "a.sock", **settings) -> Files:
        """Serve a plug-in at *path* below the registry until :meth:`gone`; its files."""
        files = Files(self.tmp_path / f"files-{path.replace('/', '-')}")
        files.set(**({"name": NAME} | settings))
        registration = Witness(files, Registration(files, self.tmp_path / "csi.sock"))
        server = SocketServer(self.registry / path, (REGISTRATION, registration))
        await server.__aenter__()
        self.stack.push_async_exit(server)
        return files

    async def gone(self) -> None:
        await self.stack.aclose()

    def told(self, files: Files) -> list[dict]:
        return [dict(call.request) for call in files.calls("NotifyRegistrationStatus")]


@pytest.fixture
async def world(tmp_path):
    made = World(tmp_path)
    yield made
    await made.manager.stop()
    await made.gone()


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_plugin_that_is_there_and_goes(world):
    files = await world.plugin()
    await world.manager.start()
    await until(lambda: world.told(files))
    endpoint = str(world.tmp_path / "csi.sock")
    assert world.handler.calls == [
        ("validate", NAME, endpoint, "1.0.0"),
        ("register", NAME, endpoint, "1.0.0"),
    ]
    assert world.told(files) == [{"plugin_registered": True}]
    await until(lambda: world.manager.registered)
    await world.gone()
    await until(lambda: world.handler.count("deregister"))
    assert world.handler.calls[-1] == ("deregister", NAME, endpoint)
    path = world.registry / "a.sock"
    await until(lambda: world.story.of("PluginDeregistered"))
    assert world.story.of("PluginRegistered") == [
        (
            f'CSIPlugin "{NAME}" at {path} is taken',
            {"cause": "a socket appeared", "endpoint": endpoint, "versions": "1.0.0"},
        )
    ]
    assert world.story.of("PluginDeregistered") == [
        (f'CSIPlugin "{NAME}" at {path} is let go', {"cause": "its socket is gone"})
    ]


async def test_sockets_that_appear_later_also_deep_below(world):
    await world.manager.start()
    await until(lambda: world.manager._look_at)
    await world.plugin()
    await until(lambda: len(world.manager.registered) == 1)
    (world.registry / "deep").mkdir()
    await asyncio.sleep(0.05)
    (world.registry / "deep" / "er").mkdir()
    await world.plugin("deep/er/b.sock", name="b.example")
    await until(lambda: len(world.manager.registered) == 2)
    await world.plugin(".hidden.sock", name="c.example")
    (world.registry / "file").touch()
    await world.plugin("d.sock", name="d.example")
    await until(lambda: len(world.manager.registered) == 3)
    assert {plugin.name for plugin in world.manager.registered.values()} == {NAME, "b.example", "d.example"}


async def test_a_restarted_plugin_is_taken_anew(world):
    await world.plugin()
    await world.manager.start()
    await until(lambda: world.manager.registered)
    await world.gone()
    files = await world.plugin()
    await until(lambda: world.handler.count("register") == 2)
    await until(lambda: len(world.told(files)) == 2)
    kinds = [call[0] for call in world.handler.calls]
    assert kinds == ["validate", "register", "deregister", "validate", "register"]


async def test_a_socket_replaced_in_one_step_is_taken_anew(world):
    await world.plugin("a.sock")
    await world.manager.start()
    await until(lambda: world.manager.registered)
    await world.plugin(".new")
    (world.registry / ".new").rename(world.registry / "a.sock")
    await until(lambda: world.story.of("PluginDeregistered"))
    assert world.story.of("PluginDeregistered")[0][1] == {"cause": "its socket was made anew"}
    await until(lambda: world.manager.registered)


async def test_an_endpoint_that_is_not_told_is_the_socket_itself(world):
    files = Files(world.tmp_path / "f")
    files.set(name=NAME)
    server = SocketServer(world.registry / "a.sock", (REGISTRATION, Witness(files, Registration(files, ""))))
    await server.__aenter__()
    world.stack.push_async_exit(server)
    await world.manager.start()
    await until(lambda: world.manager.registered)
    assert world.handler.calls[0][2] == str(world.registry / "a.sock")


async def test_an_unknown_type(world):
    files = await world.plugin(plugin_type="Other")
    await world.manager.start()
    await until(lambda: len(world.told(files)) >= 2)
    text = f"no handler registered for plugin type: Other at socket {world.registry / 'a.sock'}"
    assert world.told(files)[0] == {"error": f"RegisterPlugin error -- {text}"}
    assert world.handler.calls == []
    assert world.story.of("PluginRefused")[0][1]["attempt"] == 1


async def test_what_is_invalid_is_told_and_tried_again(world):
    world.handler.invalid = "too old"
    files = await world.plugin()
    await world.manager.start()
    await until(lambda: len(world.told(files)) >= 2)
    text = "RegisterPlugin error -- plugin validation failed with err: too old"
    assert world.told(files)[0] == {"error": text}
    world.handler.invalid = ""
    await until(lambda: world.manager.registered)
    assert world.told(files)[-1] == {"plugin_registered": True}
    assert "tried again after" in world.story.of("PluginRegistered")[0][1]["cause"]


async def test_a_failed_registration_is_told_and_tried_again(world):
    world.handler.refusals = [PluginRefusedError("no node id")] * 3
    files = await world.plugin()
    await world.manager.start()
    await until(lambda: world.manager.registered)
    await until(lambda: len(world.told(files)) == 4)
    text = "RegisterPlugin error -- plugin registration failed with err: no node id"
    assert world.told(files) == [{"error": text}] * 3 + [{"plugin_registered": True}]
    waits = [facts["next_try_seconds"] for _, facts in world.story.of("PluginRefused")]
    assert waits == [0.05, 0.1, 0.2]


async def test_a_handlers_own_fault_ends_nothing(world, caplog):
    world.handler.refusals = [RuntimeError("oops")]
    await world.plugin()
    await world.manager.start()
    await until(lambda: world.manager.registered)
    assert "oops" in caplog.text


async def test_a_plugin_that_does_not_listen_to_its_success_is_let_go(world):
    files = await world.plugin()
    files.fault("NotifyRegistrationStatus", "INTERNAL")
    await world.manager.start()
    await until(lambda: world.manager.registered)
    kinds = [call[0] for call in world.handler.calls]
    assert kinds == ["validate", "register", "deregister", "validate", "register"]
    assert "failed to send registration status" in world.story.of("PluginRefused")[0][0]


async def test_a_plugin_that_cannot_say_who_it_is(world):
    files = await world.plugin()
    files.fault("GetInfo", "INTERNAL", message="dizzy")
    await world.manager.start()
    await until(lambda: world.manager.registered)
    text = world.story.of("PluginRefused")[0][0]
    assert "failed to get plugin info using RPC GetInfo at socket" in text
    assert text.endswith("err: rpc error: code = Internal desc = dizzy")


async def test_a_dead_socket_is_not_waited_for_for_ever(world, monkeypatch):
    monkeypatch.setattr("pykubelet.rpc.plugins.announcement._DIAL", 0.3)
    path = world.registry / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    await world.manager.start()
    await until(lambda: world.story.of("PluginRefused"))
    assert (
        f"failed to dial socket {path}, err: context deadline exceeded"
        in world.story.of("PluginRefused")[0][0]
    )
    await world.plugin("dead.sock")
    await until(lambda: world.manager.registered)


async def test_plugins_of_one_name_wait_for_one_another(world):
    world.handler.hold = asyncio.Event()
    await world.plugin("a.sock")
    await world.plugin("b.sock")
    await world.manager.start()
    await until(lambda: world.handler.count("register") == 1)
    await asyncio.sleep(0.1)
    assert world.handler.count("validate") == 1
    world.handler.hold.set()
    await until(lambda: len(world.manager.registered) == 2)
    assert not world.manager._turns
    await world.gone()
    await until(lambda: world.handler.count("deregister") == 2)


async def test_a_socket_that_goes_while_its_plugin_is_taken(world):
    world.handler.hold = asyncio.Event()
    await world.plugin()
    await world.manager.start()
    await until(lambda: world.handler.count("register"))
    (world.registry / "a.sock").unlink()
    await until(lambda: not world.manager.seen)
    assert world.handler.count("deregister") == 0
    world.handler.hold.set()
    await until(lambda: world.handler.count("deregister") == 1)
    assert not world.manager.registered


async def test_a_restart_of_the_watcher_asks_everyone_again(world):
    files = await world.plugin()
    await world.manager.start()
    await until(lambda: world.told(files))
    await world.manager.stop()
    assert world.handler.count("deregister") == 0
    world.manager = world.new_manager()
    await world.manager.start()
    await until(lambda: len(world.told(files)) == 2)


async def test_without_inotify_looks_find_all(world, monkeypatch, caplog):
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(watch_module, "Inotify", refuse)
    world.manager = world.new_manager(slow=0.05)
    await world.manager.start()
    await until(lambda: world.manager._look_at)
    await world.plugin()
    await until(lambda: world.manager.registered)
    await world.gone()
    await until(lambda: not world.manager.registered)
    assert caplog.text.count("only looked for now and then") == 1


async def test_what_inotify_misses_is_found_and_counted(world, monkeypatch):
    metrics = Metrics()
    monkeypatch.setattr(watch_module.TreeWatch, "_note", lambda self, event: None)
    manager = PluginManager(
        world.registry, clock=SystemClock(), journal=world.story, metrics=metrics, slow=0.05
    )
    manager.add_handler("CSIPlugin", world.handler)
    world.manager = manager
    await manager.start()
    await until(lambda: manager._look_at)
    await world.plugin()
    await until(lambda: manager.registered)
    text = metrics.render().decode()
    assert "pykubelet_plugin_watch_missed_changes_total 1.0" in text
    path = world.registry / "a.sock"
    for state in ("actual_state_of_world", "desired_state_of_world"):
        assert f'plugin_manager_total_plugins{{socket_path="{path}",state="{state}"}} 1.0' in text


async def test_the_whole_directory_is_removed_and_comes_back(world):
    await world.plugin()
    await world.manager.start()
    await until(lambda: world.manager.registered)
    shutil.rmtree(world.registry)
    await until(lambda: world.handler.count("deregister"))
    await until(world.registry.is_dir)
    await world.plugin("b.sock")
    await until(lambda: world.manager.registered)


async def test_a_directory_that_cannot_be_read_ends_no_plugin(world, monkeypatch, caplog):
    await world.plugin()
    await world.manager.start()
    await until(lambda: world.manager.registered)

    def refuse(top: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("pykubelet.rpc.plugins.manager.scan", refuse)
        (world.registry / "x").mkdir()
        await until(lambda: "cannot be looked for" in caplog.text)
    assert world.handler.count("deregister") == 0
