import pytest

from pykubelet.linux.machine import count_cpus, parse_os_release, read_machine

FILES = {
    "proc/meminfo": "MemTotal:        2048 kB\nSwapTotal:       1024 kB\nHugePages_Total:       3\n",
    "proc/cpuinfo": "processor\t: 0\nprocessor\t: 1\n",
    "proc/swaps": "Filename\tType\n/dev/vda2 partition 1024 0 -2\n",
    "proc/sys/kernel/random/boot_id": "0c1d\n",
    "proc/sys/kernel/osrelease": "6.1.0-13-amd64\n",
    "proc/sys/kernel/pid_max": "32768\n",
    "proc/sys/kernel/threads-max": "15000\n",
    "etc/machine-id": "abc123\n",
    "etc/os-release": 'NAME=X\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n# c\n',
    "sys/devices/system/cpu/online": "0-3,6\n",
    "sys/class/dmi/id/product_uuid": "11-22\n",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "4\n",
}


def machine(root, **changed):
    for name, text in {**FILES, **changed}.items():
        if text is None:
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return read_machine(root)


def test_facts(tmp_path):
    facts = machine(tmp_path)
    assert (facts.cpus, facts.memory, facts.swap, facts.swap_on) == (5, 2 << 20, 1 << 20, True)
    assert facts.hugepages == {2 << 20: 4}
    assert (facts.machine_id, facts.system_uuid, facts.boot_id) == ("abc123", "11-22", "0c1d")
    assert facts.kernel_version == "6.1.0-13-amd64"
    assert facts.os_image == "Debian GNU/Linux 12 (bookworm)"
    assert facts.operating_system == "linux"
    assert facts.max_pids == 15000


def test_missing_facts(tmp_path):
    facts = machine(
        tmp_path,
        **{
            "sys/class/dmi/id/product_uuid": None,
            "sys/devices/system/cpu/online": None,
            "etc/os-release": "broken",
            "proc/swaps": "Filename\tType\n",
            "proc/sys/kernel/pid_max": "",
            "proc/sys/kernel/threads-max": None,
        },
    )
    assert facts.system_uuid == "abc123"
    assert facts.cpus == 2
    assert facts.os_image == "Linux"
    assert not facts.swap_on
    assert facts.max_pids == 0


def test_no_memory(tmp_path):
    with pytest.raises(ValueError, match="MemTotal"):
        machine(tmp_path, **{"proc/meminfo": "x\n"})


def test_this_machine():
    facts = read_machine()
    assert facts.cpus >= 1
    assert facts.memory > 0
    assert facts.boot_id
    assert facts.max_pids > 0


@pytest.mark.parametrize(("text", "count"), [("0", 1), ("0-3", 4), ("0-1,4,6-7", 5), ("", 0)])
def test_count_cpus(text, count):
    assert count_cpus(text) == count


def test_os_release():
    assert parse_os_release("A=b\nC='d e'\nbad\nE=\"x\n") == {"A": "b", "C": "d e"}
