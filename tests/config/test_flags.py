"""Every flag sets its field; pflag's rules in the corners."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.quantity import Quantity
from pykubelet.base.duration import Duration
from pykubelet.config import values
from pykubelet.config.defaults import legacy
from pykubelet.config.flags import Flag, get_path, parse
from pykubelet.config.flagtable import all_flags
from pykubelet.config.gates import FeatureGates
from pykubelet.config.types import (
    ConfigError,
    KubeletConfiguration,
    KubeletFlags,
    MemoryReservation,
    Taint,
    VModuleItem,
)

TABLE = all_flags()
LIVE = [flag for flag in TABLE if flag.target]
RETIRED = [flag for flag in TABLE if not flag.target]

SAMPLES = {
    values.string: ("text", "text"),
    values.int32: ("77", 77),
    values.int64: ("78", 78),
    values.level: ("6", 6),
    values.duration: ("1h1s", Duration.of(3601)),
    values.ip: ("10.1.2.3", "10.1.2.3"),
    values.strings: ("a,b", ["a", "b"]),
    values.map_strings: ("a=b,c=d", {"a": "b", "c": "d"}),
    values.map_one: ("a=b,c", {"a": "b,c"}),
    values.map_less_than: ("a<b,c<d=e", {"a": "b", "c": "d=e"}),
    values.map_bools: ("AllBeta=true", {"AllBeta": True}),
    values.multimap: ("a:b,a:c:d", {"a": ["b", "c:d"]}),
    values.labels: ("a=b,c", {"a": "b", "c": ""}),
    values.reserved_memory: (
        "0:memory=1Gi,hugepages-2Mi=4Mi;1:memory=2Gi",
        [
            MemoryReservation(
                numaNode=0, limits={"memory": Quantity.parse("1Gi"), "hugepages-2Mi": Quantity.parse("4Mi")}
            ),
            MemoryReservation(numaNode=1, limits={"memory": Quantity.parse("2Gi")}),
        ],
    ),
    values.taints: (
        "a=b:NoSchedule,c:NoExecute",
        [
            Taint(key="a", value="b", effect="NoSchedule"),
            Taint(key="c", effect="NoExecute"),
        ],
    ),
    values.vmodule: (
        "a=3,b*=4",
        [VModuleItem(filePattern="a", verbosity=3), VModuleItem(filePattern="b*", verbosity=4)],
    ),
    values.quantity: ("2Ki", "2Ki"),
    values.version: ("raw", "raw"),
}


def applied(*argv: str) -> tuple[KubeletConfiguration, KubeletFlags]:
    config, flags = legacy(FeatureGates()), KubeletFlags()
    parse(argv, TABLE).apply(config, flags)
    return config, flags


def field_of(flag: Flag, *argv: str) -> object:
    config, flags = applied(*argv)
    root, _, path = flag.target.partition(".")
    return get_path(config if root == "config" else flags, path)


@pytest.mark.parametrize("flag", LIVE, ids=lambda flag: flag.name)
def test_each_flag_sets_its_field(flag: Flag) -> None:
    if flag.parse is values.boolean:
        assert field_of(flag, f"--{flag.name}") is True
        assert field_of(flag, f"--{flag.name}=false") is False
        return
    text, value = SAMPLES[flag.parse]
    assert field_of(flag, f"--{flag.name}={text}") == value
    if not flag.alone:
        assert field_of(flag, f"--{flag.name.replace('-', '_')}", text) == value


@pytest.mark.parametrize("flag", RETIRED, ids=lambda flag: flag.name)
def test_retired_flags_are_accepted_and_say_what_replaces_them(flag: Flag) -> None:
    text = "true" if flag.parse is values.boolean else SAMPLES[flag.parse][0]
    (warning,) = parse([f"--{flag.name}={text}"], TABLE).warnings
    assert warning.startswith(f"Flag --{flag.name} has been deprecated, it has no effect: ")


def test_names_are_unique() -> None:
    assert len({flag.name for flag in TABLE}) == len(TABLE)


@pytest.mark.parametrize(
    "name",
    [
        "allow-privileged",
        "network-plugin",
        "cni-conf-dir",
        "cni-bin-dir",
        "cadvisor-port",
        "manifest-url",
        "manifest-url-header",
        "container-runtime",
        "low-diskspace-threshold-mb",
        "outofdisk-transition-frequency",
        "image-gc-high-threshold",
        "image-gc-low-threshold",
        "minimum-image-ttl-duration",
        "minimum-container-ttl-duration",
        "maximum-dead-containers",
        "maximum-dead-containers-per-container",
        "non-masquerade-cidr",
        "network-plugin-mtu",
        "configure-cbr0",
    ],
)
def test_flags_that_documents_show_are_known(name: str) -> None:
    assert name in {flag.name for flag in TABLE}


def test_every_kubelet_flag_has_one_way_to_set_it() -> None:
    targets = [flag.target.removeprefix("flags.") for flag in LIVE if flag.target.startswith("flags.")]
    assert sorted(targets) == sorted(KubeletFlags.__struct_fields__)


@pytest.mark.parametrize("argv", [["-v=4"], ["-v4"], ["-v", "4"], ["--v=4"], ["--v", "4"], ["-v=2", "--v=4"]])
def test_short_forms(argv: list[str]) -> None:
    assert applied(*argv)[0].logging.verbosity == 4


def test_bool_takes_a_value_only_after_equals() -> None:
    with pytest.raises(ConfigError, match=r"^unknown command false$"):
        parse(["--enable-server", "false"], TABLE)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["bogus"], "unknown command bogus"),
        (["--port=1", "--", "--read-only-port=2"], "unknown command --read-only-port=2"),
        (["-"], "unknown command -"),
        ([""], "unknown command "),
        (["--foo-bar-baz"], "unknown flag: --foo-bar-baz"),
        (["--staticpodpath"], "unknown flag: --staticpodpath"),
        (["--max-pod=1"], "unknown flag: --max-pod (did you mean --max-pods?)"),
        (["--port"], "flag needs an argument: --port"),
        (["-v"], "flag needs an argument: 'v' in -v"),
        (["-q"], "unknown shorthand flag: 'q' in -q"),
        (["-hx"], "unknown shorthand flag: 'x' in -hx"),
        (["--=3"], "bad flag syntax: --=3"),
        (["---a"], "bad flag syntax: ---a"),
        (
            ["--port=x"],
            'invalid argument "x" for "--port" flag: strconv.ParseInt: parsing "x": invalid syntax',
        ),
        (["--port=99999999999"], "value out of range"),
        (["--fail-swap-on=maybe"], 'strconv.ParseBool: parsing "maybe": invalid syntax'),
        (["-v=-1"], 'invalid argument "-1" for "-v, --v" flag'),
        (["-v=2147483648"], "value out of range"),
        (["--sync-frequency=5"], 'time: missing unit in duration "5"'),
        (["--sync-frequency=x"], 'time: invalid duration "x"'),
        (["--eviction-hard=a"], "malformed pair, expect string<string"),
        (["--system-reserved=a"], "malformed pair, expect string=string"),
        (["--cpu-manager-policy-options=a"], "malformed pair, expect string=string"),
        (["--feature-gates=A=x"], "invalid value of A: x"),
        (["--manifest-url-header=a"], "malformed pair, expect string:string"),
        (["--address=foo"], '"foo" is not a valid IP address'),
        (['--cluster-dns=a"b'], 'bare "'),
        (["--vmodule=a"], "does not have the pattern=N format"),
        (["--reserved-memory=a"], "expected numaNodeID:type=quantity"),
        (["--reserved-memory=x:memory=1"], "the NUMA node must be an integer"),
        (["--reserved-memory=0:memory"], "expected type=quantity"),
        (["--reserved-memory=0:cpu=1"], 'unknown memory type "cpu"'),
        (["--reserved-memory=0:memory=x"], "failed to parse the quantity: x"),
        (["--register-with-taints=a=b"], "the effect must be one of"),
        (["--register-with-taints=a=b:Never"], "the effect must be one of"),
        (["--register-with-taints=a b:NoExecute"], "invalid taint"),
        (["--register-with-taints=a:NoExecute,a=2:NoExecute"], "duplicated taints"),
        (["--log-json-info-buffer-size=x"], "is not a quantity"),
        (["--version=vx"], "invalid version vx"),
    ],
)
def test_what_is_refused(argv: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(argv, TABLE)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_repeated_maps_and_lists_add_others_replace() -> None:
    config, _ = applied(
        "--eviction-hard=a<1",
        "--eviction-hard=b<2,a<3",
        "--cluster-dns=1.1.1.1",
        "--cluster-dns=2.2.2.2",
        "--enforce-node-allocatable=none",
        "--manifest-url-header=a:1",
        "--manifest-url-header=a:2",
        "--reserved-memory=0:memory=1",
        "--reserved-memory=1:memory=2",
        "--port=1",
        "--port=2",
        "--cpu-manager-policy-options=a=1",
        "--cpu-manager-policy-options=b=2",
    )
    assert config.evictionHard == {"a": "3", "b": "2"}
    assert config.clusterDNS == ["1.1.1.1", "2.2.2.2"]
    assert config.enforceNodeAllocatable == ["none"]
    assert config.staticPodURLHeader == {"a": ["1", "2"]}
    assert [reservation.numaNode for reservation in config.reservedMemory] == [0, 1]
    assert config.port == 2
    assert config.cpuManagerPolicyOptions == {"a": "1", "b": "2"}


def test_empty_values() -> None:
    config, flags = applied(
        "--resolv-conf=", "--eviction-hard=", "--address=", "--node-labels=,", "--cluster-dns="
    )
    assert (config.resolvConf, config.evictionHard, config.address, flags.nodeLabels, config.clusterDNS) == (
        "",
        {},
        "0.0.0.0",
        {},
        [],
    )


def test_quoted_list() -> None:
    assert applied('--allowed-unsafe-sysctls="a,b",c')[0].allowedUnsafeSysctls == ["a,b", "c"]


def test_a_deprecated_flag_warns_once() -> None:
    assert parse(["--max-pods=1", "--max_pods=2"], TABLE).warnings == [
        "Flag --max-pods has been deprecated, This parameter should be set via the config file specified "
        "by the Kubelet's --config flag. "
        "See https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/ "
        "for more information."
    ]
    assert parse(["-v=3", "--fail-cgroupv1=false", "--provider-id=x", "--root-dir=/r"], TABLE).warnings == []


_word = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)


@given(st.dictionaries(_word, _word, max_size=6))
def test_maps_read_back(pairs: dict[str, str]) -> None:
    assert values.map_strings(None, ",".join(f"{k}={v}" for k, v in pairs.items())) == pairs
    assert values.map_less_than(None, ",".join(f"{k}<{v}" for k, v in pairs.items())) == pairs
    assert values.labels(None, ",".join(f"{k}={v}" for k, v in pairs.items())) == pairs


@given(st.dictionaries(_word, st.booleans(), max_size=6))
def test_bool_maps_read_back(pairs: dict[str, bool]) -> None:
    assert values.map_bools(None, ",".join(f"{k}={v}" for k, v in pairs.items())) == pairs


@given(st.integers(-(2**31), 2**31 - 1))
def test_integers_read_back(number: int) -> None:
    assert values.int32(None, str(number)) == values.int32(None, hex(number)) == number


@given(st.sampled_from(LIVE + RETIRED), st.text(max_size=12))
def test_any_text_is_a_value_or_one_clear_line(flag: Flag, text: str) -> None:
    try:
        parse([f"--{flag.name}={text}"], TABLE)
    except ConfigError as error:
        assert f"--{flag.name}" in str(error)
