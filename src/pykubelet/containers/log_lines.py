"""Turning a container's log file into what the container wrote: CRI's line format and Docker's JSON.

Pure. Whole blocks are turned at once by one pass of a regular expression where nothing has
to be known of each line; line by line only where a time matters or a block is irregular.
"""

import re
from calendar import timegm
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec

Stream = Literal["stdout", "stderr"]

#: Longest line that is kept waiting for its end, in bytes.
MAX_LINE = 4 << 20

#: Loose on purpose: a set of characters is matched several times faster than a time's parts.
_TIME = rb"[0-9TZ:.+-]{20,35}"
#: A line: time, stream, tags, text. Tags after the first are for later versions.
_LINE = re.compile(rb"(" + _TIME + rb") (stdout|stderr) ([^ \n]*) (.*)", re.DOTALL)
_TIME_PARTS = re.compile(rb"(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")

# Heads of lines, each with the line feed before it: a pattern that begins with a literal is
# searched for much faster than one anchored at line starts.
_HEAD = re.compile(rb"\n" + _TIME + rb" std(?:out|err) F ")
_HEAD_OF = {
    "stdout": re.compile(rb"\n" + _TIME + rb" stdout F "),
    "stderr": re.compile(rb"\n" + _TIME + rb" stderr F "),
}
_LINE_OF = {
    "stdout": re.compile(rb"\n" + _TIME + rb" stdout [^ \n]* [^\n]*"),
    "stderr": re.compile(rb"\n" + _TIME + rb" stderr [^ \n]* [^\n]*"),
}
_OTHER = {"stdout": "stderr", "stderr": "stdout"}
#: A whole line's head, or a part with its line feed.
_HEAD_OR_PART = re.compile(rb"^" + _TIME + rb" std(?:out|err) (?:F |P ([^\n]*)\n)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LogOptions:
    """core/v1 PodLogOptions, as far as they are about one file."""

    follow: bool = False
    #: Lines from the end; None for all.
    tail_lines: int | None = None
    #: Only lines of this time or later, nanoseconds since the epoch.
    since: int = 0
    #: At most that many bytes of output; None for all.
    limit_bytes: int | None = None
    timestamps: bool = False
    #: Only what went to this stream; None for both.
    stream: Stream | None = None


class _DockerLine(msgspec.Struct):
    log: str = ""
    stream: str = ""
    time: str = ""


_docker = msgspec.json.Decoder(_DockerLine)


@lru_cache(maxsize=64)
def _second(text: bytes, zone: bytes) -> int:
    """Seconds since the epoch of ``2016-10-06T00:17:09`` in *zone*; one entry serves a second's lines."""
    moment = datetime.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    seconds = timegm(moment.timetuple())
    if zone == b"Z":
        return seconds
    offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return seconds - offset if zone[:1] == b"+" else seconds + offset


def time_ns(stamp: bytes) -> int:
    """Nanoseconds since the epoch of an RFC 3339 time.

    :raises ValueError: it is none.
    """
    parts = _TIME_PARTS.fullmatch(stamp)
    if parts is None:
        raise ValueError(f"not a time: {stamp!r}")
    fraction = parts[2] or b""
    return _second(parts[1], parts[3]) * 1_000_000_000 + int(fraction.ljust(9, b"0"))


def fixed_time(stamp: bytes) -> bytes:
    """An RFC 3339 time with all nine decimals, as log lines with timestamps bear it."""
    parts = _TIME_PARTS.fullmatch(stamp)
    if parts is None:
        return stamp
    return parts[1] + b"." + (parts[2] or b"").ljust(9, b"0") + parts[3]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: *text* has its line end unless it is only a part."""

    time: bytes
    stream: str
    text: bytes


def parse_cri(line: bytes) -> LogLine | None:
    """A line in CRI's format, its line end included; None if it is none."""
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    time, stream, tags, text = found.groups()
    if tags.partition(b":")[0] == b"P" and text.endswith(b"\n"):
        text = text[:-1]
    return LogLine(time, stream.decode(), text)


def parse_docker(line: bytes) -> LogLine | None:
    """A line in Docker's JSON format; None if it is none."""
    try:
        entry = _docker.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if entry.stream not in ("stdout", "stderr"):
        return None
    return LogLine(entry.time.encode(), entry.stream, entry.log.encode(errors="surrogatepass"))


class LogDecoder:
    """Takes a log file's bytes in pieces of any size and gives what the container wrote."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._pending = b""
        self._docker = False
        self._known = False
        self._fresh = True
        self._left = options.limit_bytes
        self._plain = not options.timestamps and not options.since
        #: Nothing more will come out.
        self.done = options.limit_bytes is not None and options.limit_bytes <= 0

    def feed(self, data: bytes) -> bytes:
        """The output that *data* completes.

        :raises ValueError: the file is in no known format.
        """
        end = data.rfind(b"\n") + 1
        if not end and len(self._pending) + len(data) <= MAX_LINE:
            self._pending += data
            return b""
        # A line beyond all measure is cut here: what follows it is no line and is passed over.
        end = end or len(data)
        block = self._pending + data[:end]
        self._pending = data[end:]
        return self._limit(self._block(block))

    def rewind(self) -> None:
        """Forget an unfinished line: another file begins."""
        self._pending = b""

    def finish(self) -> bytes:
        """The output of an unfinished last line."""
        block, self._pending = self._pending, b""
        return self._limit(self._lines(block)) if block else b""

    def _limit(self, output: bytes) -> bytes:
        if self.done:
            return b""
        if self._left is None:
            return output
        output = output[: self._left]
        self._left -= len(output)
        self.done = self._left <= 0
        return output

    def _block(self, block: bytes) -> bytes:
        if self._plain and not self._docker:
            output = self._whole(block)
            if output is not None:
                self._known = True
                return output
        return self._lines(block)

    def _whole(self, block: bytes) -> bytes | None:
        """The block's output in one or two passes; None when not all of its lines are regular."""
        lines = block.count(b"\n")
        if not block.endswith(b"\n"):
            return None
        stream = self._options.stream
        dropped = 0
        if stream is not None:
            block, dropped = _LINE_OF[_OTHER[stream]].subn(b"", b"\n" + block[:-1])
            block = block[1:] + b"\n" if dropped < lines else b""
        if b" P " in block:
            output, kept = _HEAD_OR_PART.subn(rb"\1", block)
        else:
            head = _HEAD if stream is None else _HEAD_OF[stream]
            output, kept = head.subn(b"\n", b"\n" + block)
            output = output[1:]
        return output if kept + dropped == lines else None

    def _lines(self, block: bytes) -> bytes:
        out: list[bytes] = []
        for line in block.splitlines(keepends=True) if b"\r" not in block else _split(block):
            self._detect(line)
            parsed = parse_docker(line) if self._docker else parse_cri(line)
            if parsed is not None:
                self._line(parsed, out)
        return b"".join(out)

    def _detect(self, line: bytes) -> None:
        if self._known:
            return
        if parse_cri(line) is None:
            if parse_docker(line) is None:
                shown = line[:200].decode(errors="replace")
                raise ValueError(f"failed to get parse function: unsupported log format: {shown!r}")
            self._docker = True
        self._known = True

    def _line(self, line: LogLine, out: list[bytes]) -> None:
        options = self._options
        if options.since:
            try:
                old = time_ns(line.time) < options.since
            except ValueError:
                return
            if old:
                return
        if options.stream is not None and line.stream != options.stream:
            return
        if options.timestamps and self._fresh:
            out.append(fixed_time(line.time) + b" ")
        out.append(line.text)
        self._fresh = not line.text or line.text.endswith(b"\n")


def _split(block: bytes) -> list[bytes]:
    """Lines by line feed alone."""
    lines = [part + b"\n" for part in block.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
