from hypothesis import given
from hypothesis import strategies as st

from pykubelet.pods.sources import Origin, read_manifests
from pykubelet.pods.sources.scan import scan


def manifest(name):
    spec = "spec: {containers: [{name: a, image: i}]}"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n{spec}\n"


def look(path, before=None, forced=(), recheck=False):
    return scan(path, "node1", before or {}, frozenset(forced), recheck=recheck).files


def named(files):
    return [static.pod.metadata.name for state in files.values() for static in state.pods]


def settled(files):
    """As if the files had been read long after they were written."""
    return {name: type(state)(state.stamp, True, state.pods, state.problems) for name, state in files.items()}


def test_an_unchanged_file_is_not_read_again(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(manifest("a"))
    first = look(tmp_path)
    assert not first[str(file)].settled
    old = settled(first)
    assert look(tmp_path, old)[str(file)] is old[str(file)]
    assert look(tmp_path, old, ["a.yaml"])[str(file)] is not old[str(file)]


def test_a_file_half_broken_keeps_what_it_held_until_the_recheck(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(manifest("a") + "---\n" + manifest("b"))
    first = look(tmp_path)
    assert named(first) == ["a-node1", "b-node1"]
    file.write_text(manifest("a") + "---\n" + manifest("B"))
    broken = look(tmp_path, first)
    assert named(broken) == ["a-node1", "b-node1"]
    assert [problem.field for problem in broken[str(file)].problems] == ["metadata.name"]
    assert named(look(tmp_path, broken)) == ["a-node1", "b-node1"]
    assert named(look(tmp_path, broken, recheck=True)) == ["a-node1"]


def test_a_recheck_amid_a_write_drops_nothing(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(manifest("a"))
    first = look(tmp_path)
    file.write_text("a: [")
    torn = look(tmp_path, first, recheck=True)
    assert named(torn) == ["a-node1"]
    assert named(look(tmp_path, torn, recheck=True)) == []


def test_a_missing_path(tmp_path):
    assert scan(tmp_path / "x", "node1", {}, frozenset(), recheck=True).missing


@given(st.binary(max_size=300) | st.text("{}[]:-&*<\n abkind\"'!|>#%", max_size=120).map(str.encode))
def test_noise_is_an_error_and_nothing_worse(data):
    pods, errors = read_manifests(data, Origin("file", "/x"), "node1")
    assert not pods
    assert errors
