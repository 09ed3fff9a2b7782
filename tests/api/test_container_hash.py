import pytest

from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Container


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [("foo", "bar", "11a6d6d6"), ("test_container", "foo/image:v1", "8e45cbd0")],
)
def test_vectors(name, image, expected):
    assert container_hash(Container(name=name, image=image)) == expected


def test_only_name_and_image_count():
    plain = Container(name="foo", image="bar")
    assert container_hash(Container(name="foo", image="bar", command=["x"], tty=True)) == container_hash(
        plain
    )
    assert container_hash(Container(name="foo", image="baz")) != container_hash(plain)
