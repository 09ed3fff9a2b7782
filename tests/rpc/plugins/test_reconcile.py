"""What follows from which facts about plug-ins."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pykubelet.rpc.plugins.reconcile import (
    Deregister,
    Failure,
    Register,
    Registered,
    decide,
    failed,
    next_try,
)
from pykubelet.rpc.plugins.scan import Mark

OLD, NEW = Mark(1, 1, 1), Mark(1, 2, 2)


def taken(mark: Mark) -> Registered:
    return Registered(mark, "CSIPlugin", "a", "/e")


@pytest.mark.parametrize(
    ("seen", "registered", "running", "failures", "orders"),
    [
        ({}, {}, (), {}, []),
        ({"/a": OLD}, {}, (), {}, [Register("/a", OLD, "a socket appeared")]),
        ({"/a": OLD}, {"/a": taken(OLD)}, (), {}, []),
        ({}, {"/a": taken(OLD)}, (), {}, [Deregister("/a", "its socket is gone")]),
        ({"/a": NEW}, {"/a": taken(OLD)}, (), {}, [Deregister("/a", "its socket was made anew")]),
        ({"/a": OLD}, {}, ("/a",), {}, []),
        ({}, {"/a": taken(OLD)}, ("/a",), {}, []),
        ({"/a": OLD}, {}, (), {"/a": Failure(OLD, 1, 10.1)}, []),
        (
            {"/a": OLD},
            {},
            (),
            {"/a": Failure(OLD, 3, 10.0)},
            [Register("/a", OLD, "tried again after 3 failures")],
        ),
        ({"/a": NEW}, {}, (), {"/a": Failure(OLD, 3, 99.0)}, [Register("/a", NEW, "a socket appeared")]),
        (
            {"/c": NEW, "/b": NEW},
            {"/a": taken(OLD), "/d": taken(OLD)},
            (),
            {},
            [
                Deregister("/a", "its socket is gone"),
                Deregister("/d", "its socket is gone"),
                Register("/b", NEW, "a socket appeared"),
                Register("/c", NEW, "a socket appeared"),
            ],
        ),
    ],
)
def test_decide(seen, registered, running, failures, orders):
    assert decide(seen, registered, running, failures, 10.0) == orders


def test_waits_double_up_to_the_longest():
    failure, waits = None, []
    for _ in range(10):
        failure = failed(failure, OLD, 100.0, 0.5, 122.0)
        waits.append(failure.until - 100.0)
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 64, 122, 122]
    assert failed(Failure(OLD, 10**9, 0.0), OLD, 0.0, 0.5, 122.0).until == 122.0


def test_a_new_socket_begins_anew():
    assert failed(Failure(OLD, 7, 0.0), NEW, 1.0, 0.5, 122.0) == Failure(NEW, 1, 1.5)


def test_the_next_try():
    failures = {"/a": Failure(OLD, 1, 5.0), "/b": Failure(OLD, 1, 3.0), "/c": Failure(OLD, 1, 1.0)}
    assert next_try({"/a": OLD, "/b": OLD}, (), failures) == 3.0
    assert next_try({"/a": OLD, "/b": OLD}, ("/b",), failures) == 5.0
    assert next_try({"/a": NEW}, (), failures) is None


PATHS = st.sampled_from(["/a", "/b", "/c"])


class Plugins(RuleBasedStateMachine):
    """Sockets that come, go and are made anew while work goes well or not."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.marks = 0
        self.seen: dict[str, Mark] = {}
        self.registered: dict[str, Registered] = {}
        self.running: dict[str, object] = {}
        self.failures: dict[str, Failure] = {}

    @rule(path=PATHS)
    def make(self, path):
        self.marks += 1
        self.seen[path] = Mark(1, self.marks, self.marks)

    @rule(path=PATHS)
    def remove(self, path):
        self.seen.pop(path, None)

    @rule(seconds=st.floats(0.0, 5.0))
    def wait(self, seconds):
        self.now += seconds

    @rule()
    def act(self):
        orders = decide(self.seen, self.registered, self.running, self.failures, self.now)
        assert len({order.path for order in orders}) == len(orders)
        for order in orders:
            assert order.path not in self.running
            if isinstance(order, Register):
                assert order.path not in self.registered
                assert self.seen[order.path] == order.mark
                failure = self.failures.get(order.path)
                assert failure is None or failure.mark != order.mark or failure.until <= self.now
            else:
                assert self.registered[order.path].mark != self.seen.get(order.path)
            self.running[order.path] = order

    @rule(path=PATHS, good=st.booleans())
    def end(self, path, good):
        order = self.running.pop(path, None)
        if isinstance(order, Deregister):
            del self.registered[path]
        elif order is not None and good:
            self.failures.pop(path, None)
            self.registered[path] = taken(order.mark)
        elif order is not None:
            self.failures[path] = failed(self.failures.get(path), order.mark, self.now, 0.5, 122.0)

    @invariant()
    def what_fails_is_tried_again(self):
        orders = {
            order.path for order in decide(self.seen, self.registered, self.running, self.failures, self.now)
        }
        waits = next_try(self.seen, self.running, self.failures)
        for path in self.seen:
            assert path in self.registered or path in self.running or path in orders or waits is not None

    def teardown(self):
        # Once the world stands still and all goes well, what is taken is what is there.
        for _ in range(4):
            for path in list(self.running):
                self.end(path, True)
            self.now += 200.0
            self.act()
        for path in list(self.running):
            self.end(path, True)
        assert {path: plugin.mark for path, plugin in self.registered.items()} == self.seen


TestPlugins = Plugins.TestCase
TestPlugins.settings = settings(stateful_step_count=25)
