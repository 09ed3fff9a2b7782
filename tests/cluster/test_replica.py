"""The replica and its course: whatever order lists, events and failures come in, it ends as the server is."""

from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap
from pykubelet.cluster.door import Change
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.replica import Ask, Course, Replica


def thing(uid: str, version: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=uid, uid=uid, resourceVersion=version))


def test_a_picture_does_not_move_and_is_shared_while_nothing_changes() -> None:
    replica: Replica[ConfigMap] = Replica()
    replica.replace([thing("a", "1")], "1")
    before = replica.items
    assert replica.items is before
    replica.apply(Change("BOOKMARK", ConfigMap(), "5"))
    assert replica.items is before
    assert replica.resource_version == "5"
    replica.apply(Change("DELETED", thing("a", "6"), "6"))
    assert set(before) == {"a"}
    assert not replica.items


def test_a_list_tells_what_was_deleted_meanwhile() -> None:
    replica: Replica[ConfigMap] = Replica()
    replica.replace([thing("a", "1"), thing("b", "2"), thing("c", "3")], "3")
    told = replica.replace([thing("b", "2"), thing("c", "7"), thing("d", "8")], "9")
    assert [(change.kind, change.object.metadata.uid) for change in told] == [
        ("DELETED", "a"),
        ("MODIFIED", "c"),
        ("ADDED", "d"),
    ]


class Server:
    """Objects, and every event there was."""

    def __init__(self) -> None:
        self.objects: dict[str, ConfigMap] = {}
        self.events: list[Change[ConfigMap]] = []
        self.version = 10
        #: The oldest version from which a watch can go on.
        self.oldest = 10

    def write(self, uid: str, delete: bool) -> None:
        self.version += 1
        made = thing(uid, str(self.version))
        if delete:
            if self.objects.pop(uid, None) is None:
                return
            self.events.append(Change("DELETED", made, str(self.version)))
        else:
            kind = "MODIFIED" if uid in self.objects else "ADDED"
            self.objects[uid] = made
            self.events.append(Change(kind, made, str(self.version)))

    def compact(self) -> None:
        self.oldest = self.version


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from("abcd"), st.booleans()),
        st.tuples(st.just("compact")),
        st.tuples(st.just("bookmark")),
        st.tuples(st.just("watch"), st.integers(0, 5)),
        st.tuples(st.just("unreachable")),
        st.tuples(st.just("error"), st.sampled_from([401, 429, 500, 503])),
        st.tuples(st.just("refuse")),
        st.tuples(st.just("torn"), st.integers(0, 3)),
    ),
    max_size=60,
)


@given(STEPS, st.booleans())
def test_it_converges(steps: list[tuple[object, ...]], watch_list: bool) -> None:
    server, replica, course = Server(), Replica[ConfigMap](), Course(watch_list=watch_list)
    mirrored: dict[str, str] = {}

    def tell(changes: list[Change[ConfigMap]]) -> None:
        for change in changes:
            uid = change.object.metadata.uid
            if change.kind == "DELETED":
                del mirrored[uid]
            else:
                assert (uid in mirrored) is (change.kind == "MODIFIED")
                mirrored[uid] = change.resource_version

    def take() -> None:
        tell(replica.replace(list(server.objects.values()), str(server.version)))
        course.listed()

    def serve(most: int) -> None:
        """What the honest server answers to the next request; a watch brings *most* events."""
        asked, version = course.ask(replica.resource_version)
        if asked is Ask.WATCH:
            if int(version) < server.oldest:
                course.failed(asked, Refused(410, "Expired", "too old"))
                return
            for event in [e for e in server.events if int(e.resource_version) > int(version)][:most]:
                course.moved()
                difference = replica.apply(event)
                if difference is not None:
                    tell([difference])
        elif version not in {"", "0"} and int(version) > server.version:
            course.failed(asked, Refused(504, "Timeout", "Too large resource version"))
        else:
            take()

    for step in steps:
        asked, _ = course.ask(replica.resource_version)
        known = dict(replica.items)
        match step:
            case ("write", str(uid), bool(delete)):
                server.write(uid, delete)
            case ("compact",):
                server.compact()
            case ("bookmark",) if asked is Ask.WATCH and int(replica.resource_version) >= server.version:
                replica.apply(Change("BOOKMARK", ConfigMap(), str(server.version)))
            case ("watch", int(most)):
                serve(most)
            case ("unreachable",):
                assert not course.failed(asked, Unreachable("gone"))
                assert dict(replica.items) == known
            case ("error", int(code)):
                assert course.failed(asked, Refused(code, "", "no")) is (
                    asked is Ask.WATCH_LIST and code == 500
                )
                assert dict(replica.items) == known
            case ("refuse",) if asked is Ask.WATCH_LIST:
                assert course.failed(asked, Refused(422, "Invalid", "sendInitialEvents is forbidden"))
                assert course.ask("")[0] is Ask.LIST
            case _:
                pass

    for _ in range(4):
        serve(1000)
    assert dict(replica.items) == server.objects
    assert mirrored == {uid: found.metadata.resourceVersion for uid, found in server.objects.items()}


def test_the_course_of_lists() -> None:
    course = Course(watch_list=False)
    assert course.ask("") == (Ask.LIST, "0")
    assert course.failed(Ask.LIST, Refused(410, "Expired", "")) is True
    assert course.ask("") == (Ask.LIST, "")
    # Never twice in a row without a wait.
    assert course.failed(Ask.LIST, Refused(410, "Expired", "")) is False
    course.listed()
    assert course.ask("7") == (Ask.WATCH, "7")
    assert course.failed(Ask.WATCH, Refused(410, "Expired", "")) is False
    assert course.ask("7") == (Ask.LIST, "7")
    course.listed()
    course.moved()
    assert course.failed(Ask.WATCH, Refused(410, "Expired", "")) is True


def test_a_watch_list_that_is_too_old_even_from_nowhere_gives_way_to_a_list() -> None:
    course = Course()
    assert course.failed(Ask.WATCH_LIST, Refused(410, "Expired", "")) is True
    assert course.ask("7") == (Ask.WATCH_LIST, "")
    assert course.failed(Ask.WATCH_LIST, Refused(410, "Expired", "")) is False
    assert course.ask("7") == (Ask.LIST, "")


def test_a_watch_goes_on_where_it_was_after_the_servers_own_troubles() -> None:
    course = Course()
    course.listed()
    for error in (Unreachable("x"), Refused(429, "", ""), Refused(503, "", ""), Refused(401, "", "")):
        assert course.failed(Ask.WATCH, error) is False
        assert course.ask("7") == (Ask.WATCH, "7")
    assert course.failed(Ask.WATCH, Refused(400, "BadRequest", "")) is False
    assert course.ask("7") == (Ask.WATCH_LIST, "7")
