from pykubelet.api.quantity import Quantity
from pykubelet.base.duration import Duration
from pykubelet.config.decode import decode
from pykubelet.config.defaults import complete, legacy
from pykubelet.config.gates import FeatureGates
from pykubelet.config.jsonform import as_v1beta1_json
from pykubelet.config.types import KubeletConfiguration, MemoryReservation, Taint


def test_prints_as_go_does() -> None:
    config = legacy(FeatureGates())
    config.healthzPort = 0
    config.evictionHard = {"b": "1", "a": "2"}
    config.syncFrequency = Duration.of(90)
    config.registerWithTaints = [Taint(key="k")]
    config.reservedMemory = [MemoryReservation(limits={"memory": Quantity.parse("1024Mi")})]
    printed = as_v1beta1_json(config)
    assert list(printed)[:4] == ["kind", "apiVersion", "enableServer", "podLogsDir"]
    assert printed["healthzPort"] == 0
    assert printed["syncFrequency"] == "1m30s"
    assert printed["imageMaximumGCAge"] == "0s"
    assert list(printed["evictionHard"]) == ["a", "b"]
    assert printed["registerWithTaints"] == [{"key": "k", "effect": ""}]
    assert printed["reservedMemory"] == [{"numaNode": 0, "limits": {"memory": "1Gi"}}]
    assert printed["memorySwap"] == {}
    assert printed["authentication"]["x509"] == {}
    assert printed["logging"] == {
        "format": "text",
        "flushFrequency": "5s",
        "verbosity": 0,
        "options": {"text": {"infoBufferSize": "0"}, "json": {"infoBufferSize": "0"}},
    }
    for absent in (
        "staticPodPath",
        "clusterDNS",
        "singleProcessOOMKill",
        "tracing",
        "podsPerCore",
        "runOnce",
    ):
        assert absent not in printed


def test_reads_back_the_same() -> None:
    gates = FeatureGates()
    config = legacy(gates)
    config.podPidsLimit = 100
    config.maxParallelImagePulls = 3
    config.serializeImagePulls = False
    printed = as_v1beta1_json(config)
    raw = {key: value for key, value in printed.items() if key not in ("kind", "apiVersion")}
    again, unknown = decode(raw, KubeletConfiguration)
    complete(again, raw, gates)
    assert (again, unknown) == (config, [])
