"""The node's own registry configuration."""

import json

import pytest

from pykubelet.containers.credentials import node_config
from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.node_config import NodeConfig, search_paths


class HandClock:
    """A clock that is set by hand."""

    at = 0.0

    def monotonic(self):
        return self.at


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Directories of the kubelet, of its work and of its user; the machine's own are not looked at."""
    made = [tmp_path / name for name in ("root", "cwd", "home")]
    for directory in (*made, tmp_path / "home" / ".docker"):
        directory.mkdir()
    inside = [tmp_path / "slash"]

    def here(root, home, cwd):
        found = search_paths(root, str(made[2]), made[1])
        return [(inside[0] / p.name if p.parent in {inside[0].parent.parent} else p, f) for p, f in found]

    monkeypatch.setattr(node_config, "search_paths", here)
    return made


def write(path, user, *, old=False):
    login = {"r": {"username": user}}
    path.write_text(json.dumps(login if old else {"auths": login}))


async def user(root):
    logins = await NodeConfig(root, HandClock()).logins()
    return logins["r"].username if logins else ""


async def test_where_it_is_looked_for(places):
    root, cwd, home = places
    write(home / ".dockercfg", "old-home", old=True)
    assert await user(root) == "old-home"
    write(root / ".dockercfg", "old-root", old=True)
    assert await user(root) == "old-root"
    write(home / ".docker" / "config.json", "home")
    assert await user(root) == "home"
    write(cwd / "config.json", "cwd")
    assert await user(root) == "cwd"
    (root / "config.json").write_text("{broken")
    assert await user(root) == "cwd"
    write(root / "config.json", "root")
    assert await user(root) == "root"


async def test_it_is_kept_for_five_minutes(places):
    root, clock = places[0], HandClock()
    config = NodeConfig(root, clock)
    assert await config.logins() == {}
    write(root / "config.json", "u")
    clock.at = 299
    assert await config.logins() == {}
    clock.at = 300
    assert await config.logins() == {"r": Login("u")}


async def test_a_directory_of_work_that_is_gone(tmp_path, monkeypatch):
    home, gone = tmp_path / "home", tmp_path / "gone"
    (home / ".docker").mkdir(parents=True)
    write(home / ".docker" / "config.json", "home")
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("HOME", str(home))
    gone.rmdir()
    assert await user(tmp_path / "root") == "home"
