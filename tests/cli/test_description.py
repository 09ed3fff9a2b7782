"""A pod in words: what of its resources is wanted, allocated and in force."""

from datetime import UTC, datetime

from pykubelet.cli.description import describe_pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SMALL = {"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "100m", "memory": "1Mi"}}
LARGE = {"requests": {"cpu": "200m", "memory": "1Mi"}, "limits": {"cpu": "300m", "memory": "1Mi"}}


def described(wanted, allocated, real, whole=None):
    whole = whole or {}
    status = {"name": "app", "state": {"running": {}}, **({"resources": real} if real else {})}
    details = {
        "pod": {
            "metadata": {"name": "web"},
            "spec": {"containers": [{"name": "app", "resources": wanted}], "resources": whole.get("wanted")},
            "status": {"containerStatuses": [status], "resources": whole.get("real")},
        },
        "allocated": {"app": allocated, "": whole.get("allocated")},
    }
    return describe_pod(details, NOW)


def test_a_resize_that_waits_or_is_under_way() -> None:
    text = "\n".join(described(LARGE, SMALL, SMALL))
    assert (
        "    Resize:      Wanted  Allocated  In force\n"
        "    cpu limit    300m    100m       100m\n"
        "    cpu request  200m    100m       100m\n"
    ) in text
    assert "    cpu limit    300m    300m       100m\n" in "\n".join(described(LARGE, LARGE, SMALL))
    assert "    cpu limit    300m    100m       <none>\n" in "\n".join(described(LARGE, SMALL, None))


def test_without_one_nothing_is_said() -> None:
    assert not [line for line in described(SMALL, SMALL, SMALL) if "Resize" in line]
    assert not [line for line in described(SMALL, SMALL, None) if "Resize" in line]
    assert not [line for line in described({}, None, None) if "Resize" in line]


def test_the_pod_as_a_whole() -> None:
    lines = described(SMALL, SMALL, SMALL, {"wanted": LARGE, "allocated": LARGE, "real": SMALL})
    assert "cpu limit    300m    300m       100m" in lines


def test_what_is_being_pulled_is_told() -> None:
    pulls = [
        {"container": "app", "text": "pulling img for 12s, 1.0 of 2.0 MiB so far"},
        {"container": "", "text": "waiting for 3s for the turn to pull data"},
    ]
    pod = {"metadata": {"name": "web"}, "spec": {}, "status": {}}
    lines = describe_pod({"pod": pod, "pulls": pulls}, NOW)
    at = lines.index("Pulls:")
    assert [line.split(maxsplit=1) for line in lines[at + 1 : at + 3]] == [
        ["app:", pulls[0]["text"]],
        ["volume:", pulls[1]["text"]],
    ]


def test_what_a_volume_waits_for() -> None:
    waiting = {
        "volume": "data",
        "state": "attaching",
        "claim": "shop/data",
        "persistent_volume": "pv-1",
        "waits_for": "the attach/detach controller",
        "step": "attach",
        "device": "kubernetes.io/csi/d^h",
        "since": 61.4,
        "failures": 2,
        "error": "not attached",
        "next_try": 3.7,
    }
    spec = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}], "containers": []}
    pod = {"metadata": {"name": "web"}, "spec": spec, "status": {}}
    text = "\n".join(describe_pod({"pod": pod, "volumes": [waiting]}, NOW))
    assert (
        "    State:      attaching, attach failed: not attached\n"
        "    Device:     kubernetes.io/csi/d^h\n"
        "    Claim:      shop/data is bound to PersistentVolume pv-1\n"
        "    Waits for:  the attach/detach controller\n"
        "    Since:      61s, 2 failed\n"
        "    Next try:   in 4s\n"
    ) in text
    unbound = {"volume": "data", "state": "resolving", "claim": "shop/data", "persistent_volume": ""}
    text = "\n".join(describe_pod({"pod": pod, "volumes": [unbound]}, NOW))
    assert "    Claim:      shop/data\n" in text
    there = {"volume": "data", "state": "mounted", "since": 5.0, "claim": "", "waits_for": ""}
    text = "\n".join(describe_pod({"pod": pod, "volumes": [there]}, NOW))
    assert "    State:      mounted\n" in text
    assert "Since" not in text
