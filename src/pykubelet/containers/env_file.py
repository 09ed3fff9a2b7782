"""Environment files: lines ``NAME='value'`` in a pod's volume (KEP-3721, ``fileKeyRef``).

The file is written by another container of the pod, so that it is read as hostile: no
link is followed, only a regular file of bounded size is accepted.
"""

from pykubelet.linux.safeopen import open_beneath, opened

from .regular import read_regular

_LIMIT = 1 << 20
_BLANK = " \t"


def value_in(text: str, key: str) -> str:
    """The value of *key*; empty when it is not there.

    :raises ValueError: a line before it is not of the form ``NAME='value'``.
    """
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at].lstrip(_BLANK)
        first = at + 1
        at += 1
        if not line.strip("\r") or line.startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals:
            raise ValueError(f"line {first} has no '='")
        if not name or name != name.rstrip(_BLANK):
            raise ValueError(f"line {first} has no name directly before '='")
        if value[:1] in _BLANK and value:
            if name == key:
                return ""
            continue
        if not value.startswith("'"):
            raise ValueError(f"line {first}: the value is not in single quotes")
        body = value[1:]
        while "'" not in body:
            if at >= len(lines):
                raise ValueError(f"line {first}: the quote is not closed")
            body += "\n" + lines[at]
            at += 1
        inside, _, after = body.partition("'")
        if after.strip(_BLANK + "\r") and not after.lstrip(_BLANK).startswith("#"):
            raise ValueError(f"line {at} goes on after the closing quote")
        if name == key:
            return inside
    return ""


def read_beneath(root: str, path: str) -> str:
    """The text of the file *path* below *root*; blocking.

    :raises OSError: not there, or reached over a link.
    :raises ValueError: not a regular file, too large, or it leaves *root*.
    """
    with opened(root) as directory:
        data = read_regular(open_beneath(directory, path, follow=False), _LIMIT)
    return data.decode(errors="replace")
