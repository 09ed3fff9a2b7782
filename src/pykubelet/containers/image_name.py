"""Names of images: what is one, and which tag it means (github.com/distribution/reference)."""

import re
from dataclasses import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_TAG = r"[\w][\w.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"((?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_MAX_NAME = 255
_DEFAULT_HOST = "docker.io"


@dataclass(frozen=True, slots=True)
class ImageName:
    """A name in its full form; *tag* and *digest* may be empty, not both."""

    repository: str
    tag: str
    digest: str


def _split_host(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    host = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    if not host:
        first, rest = _DEFAULT_HOST, name
    elif first == "index.docker.io":
        first = _DEFAULT_HOST
    if first == _DEFAULT_HOST and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def parse_image_name(image: str) -> ImageName:
    """What *image* names; the tag ``latest`` when it has neither tag nor digest.

    :raises ValueError: it is no image name.
    """
    bad = f'couldn\'t parse image name "{image}": '
    if _IDENTIFIER.fullmatch(image):
        raise ValueError(
            f"{bad}invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
        )
    host, rest = _split_host(image)
    path = rest.partition("@")[0]
    path = path.partition(":")[0]
    if path != path.lower():
        raise ValueError(f"{bad}invalid reference format: repository name ({path}) must be lowercase")
    found = _REFERENCE.fullmatch(f"{host}/{rest}")
    if found is None:
        raise ValueError(f"{bad}invalid reference format")
    name, tag, digest = found.groups(default="")
    if len(name) > _MAX_NAME:
        raise ValueError(f"{bad}repository name must not be more than {_MAX_NAME} characters")
    if not tag and not digest:
        tag = "latest"
    return ImageName(name, tag, digest)


def with_default_tag(image: str) -> str:
    """*image* as it is asked of the runtime: with ``:latest`` where it has neither tag nor digest.

    :raises ValueError: it is no image name.
    """
    name = parse_image_name(image)
    if name.digest or image.endswith(f":{name.tag}"):
        return image
    return f"{image}:{name.tag}"


def without_tag(image: str) -> str:
    """*image* as it is written, without its tag and digest.

    :raises ValueError: it is no image name.
    """
    found = _REFERENCE.fullmatch(image)
    if found is None:
        raise ValueError(f'couldn\'t parse image name "{image}": invalid reference format')
    return found.group(1)
