"""Image names and their default tag."""

import pytest

from pykubelet.containers.image_name import ImageName, parse_image_name, with_default_tag

SUM = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        ("busybox", ImageName("docker.io/library/busybox", "latest", "")),
        ("busybox:1", ImageName("docker.io/library/busybox", "1", "")),
        ("org/app", ImageName("docker.io/org/app", "latest", "")),
        ("host:5000/app", ImageName("host:5000/app", "latest", "")),
        ("host:5000/app:t", ImageName("host:5000/app", "t", "")),
        ("localhost/app", ImageName("localhost/app", "latest", "")),
        (f"r.io/a/b@{SUM}", ImageName("r.io/a/b", "", SUM)),
        (f"r.io/a/b:t@{SUM}", ImageName("r.io/a/b", "t", SUM)),
        ("index.docker.io/x", ImageName("docker.io/library/x", "latest", "")),
    ],
)
def test_parts(image, wanted):
    assert parse_image_name(image) == wanted


@pytest.mark.parametrize(
    ("image", "text"),
    [
        ("", "invalid reference format"),
        ("FOO BAR", "must be lowercase"),
        ("Foo", "repository name (library/Foo) must be lowercase"),
        ("a" * 64, "cannot specify 64-byte hexadecimal strings"),
        ("x:", "invalid reference format"),
        ("x:" + "t" * 129, "invalid reference format"),
        ("x@sha256:12", "invalid reference format"),
        ("a/" * 140 + "b", "must not be more than 255"),
    ],
)
def test_bad_names(image, text):
    with pytest.raises(ValueError) as caught:
        parse_image_name(image)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("image", "wanted"),
    [("a", "a:latest"), ("a:b", "a:b"), (f"a@{SUM}", f"a@{SUM}"), ("h:1/a", "h:1/a:latest")],
)
def test_default_tag(image, wanted):
    assert with_default_tag(image) == wanted
