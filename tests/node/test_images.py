"""Which images a node tells of, and how it learns of them."""

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import Image
from pykubelet.node.images import PERIOD, ImageList, reported_images


def image(name, size, tags=(), digests=()):
    return Image(name, tuple(tags), tuple(digests), size)


@pytest.mark.parametrize(
    ("limit", "names"), [(-1, ["big", "a", "b"]), (2, ["big", "a"]), (0, []), (9, ["big", "a", "b"])]
)
def test_the_biggest_come_first_and_equals_keep_their_order(limit, names) -> None:
    images = [image("b", 1, ["b"]), image("big", 9, ["big"]), image("a", 1, ["a"])]
    assert [each.names[0] for each in reported_images(images, limit)] == names


def test_digests_come_before_tags_and_no_more_than_five() -> None:
    (told,) = reported_images([image("i", 1, ["t1", "t2", "t3"], ["d1", "d2", "d3"])], -1)
    assert told.names == ["d1", "d2", "d3", "t1", "t2"]


class Runtime:
    def __init__(self) -> None:
        self.answers = [[image("i", 1)], None, [image("i", 1)], [image("j", 1)]]

    async def list_images(self, name=""):
        answer = self.answers.pop(0)
        if answer is None:
            raise CriError(Code.Unavailable, "ListImages", "away")
        return answer


@pytest.mark.looptime(start=0)
async def test_what_was_seen_stays_until_something_else_is() -> None:
    clock = LoopClock()
    listed = ImageList(Runtime(), clock)
    await listed.start()
    await clock.sleep(PERIOD * 2 + 1)
    assert [each.id for each in listed.images] == ["i"]
    await clock.sleep(PERIOD)
    assert [each.id for each in listed.images] == ["j"]
    await listed.stop()
