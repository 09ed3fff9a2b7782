"""Turning a container's log file into what the container wrote: CRI's line format and Docker's JSON.

Pure. Whole blocks are turned at once by a few passes of regular expressions; what is irregular
(a line that is none, a part, lines on both sides of the time asked for) is found by halving the
block, and only that is turned line by line.
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
#: The zone of a block's first time.
_ZONE = re.compile(rb"2[0-9T:.-]{18,28}(Z|[+-]\d\d:\d\d) ")
#: Seconds since the epoch when years get a fifth digit.
_YEAR_10000 = 253_402_300_800
_TIME_PARTS = re.compile(rb"(.{19})(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")

#: Blocks of at most that many bytes are turned line by line when they are irregular.
_SMALL = 2 << 10
# What the fast ways know of a time: it begins as all of this millennium's do, and has no space.
_STAMP = rb"2[^ \n]{18,34}+"
_STREAM = rb" std(?:out|err) "

# Heads of lines, each with the line feed before it: a pattern that begins with a literal is
# searched for much faster than one anchored at line starts.
_HEAD = re.compile(rb"\n" + _STAMP + _STREAM + rb"F ")
_LINE_OF = {
    "stdout": re.compile(rb"\n" + _STAMP + rb" stdout [^ \n]* [^\n]*"),
    "stderr": re.compile(rb"\n" + _STAMP + rb" stderr [^ \n]* [^\n]*"),
}
_OTHER = {"stdout": "stderr", "stderr": "stdout"}
#: A whole line's head, or a part with its line feed.
_HEAD_OR_PART = re.compile(rb"^" + _STAMP + _STREAM + rb"(?:F |P ([^\n]*)\n)", re.MULTILINE)
#: As many whole lines as there are.
_WHOLE_LINES = re.compile(rb"(?:" + _STAMP + _STREAM + rb"F .*+\n)*+")
#: The beginning of a line whose time has less than nine decimals.
_SHORT_TIME = re.compile(rb"\n(2.{18})(\.[0-9]{0,8}+)?+(Z|[+-]\d\d:\d\d) ")
#: Stream and tag after a time of nine decimals, by the length of the time.
_AFTER_TIME = {
    width: re.compile(rb" std(?:out|err) F (?<=\n2.{%d} std(?:out|err) F )" % (width - 1))
    for width in (30, 35)
}


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


# Made and learnt as the module is read, by one thread; no struct of the API.
_docker = msgspec.json.Decoder(_DockerLine)  # noqa: TID251


@lru_cache(maxsize=64)
def _second(text: bytes, zone: bytes) -> int:
    """Seconds since the epoch of ``2016-10-06T00:17:09`` in *zone*; one entry serves a second's lines."""
    moment = datetime.strptime(text.decode(), "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return timegm(moment.timetuple()) - _offset(zone)


def _offset(zone: bytes) -> int:
    """Seconds by which clocks in *zone* (``Z``, ``+02:00``) are ahead."""
    if zone == b"Z":
        return 0
    offset = int(zone[1:3]) * 3600 + int(zone[4:6]) * 60
    return offset if zone[:1] == b"+" else -offset


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


def _nine_decimals(found: re.Match[bytes]) -> bytes:
    second, fraction, zone = found.groups()
    return b"\n" + second + (fraction or b".").ljust(10, b"0") + zone + b" "


class _Since:
    """Tells of whole blocks on which side of a time they are, by the second."""

    def __init__(self, since: int) -> None:
        self._since = since // 1_000_000_000
        self._made: dict[bytes, tuple[re.Pattern[bytes], re.Pattern[bytes]] | None] = {}

    def side(self, block: bytes) -> int:
        """-1: all lines are of an earlier second; 1: all are of a later one; 0: not known."""
        zone = _ZONE.match(block)
        if zone is None:
            return 0
        if zone[1] not in self._made:
            self._made[zone[1]] = self._patterns(zone[1])
        patterns = self._made[zone[1]]
        if patterns is None:
            return 0
        for side, pattern in zip((-1, 1), patterns, strict=True):
            if pattern.fullmatch(block):
                return side
        return 0

    def _patterns(self, zone: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]] | None:
        there = self._since + _offset(zone)
        if not 0 <= there < _YEAR_10000:
            return None
        second = datetime.fromtimestamp(there, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        rest = rb"[^ \n]*+(?<=" + re.escape(zone) + rb") .*+\n"
        earlier, later = (_beyond(second, up=up) for up in (False, True))
        return re.compile(rb"(?:%s%s)*+" % (earlier, rest)), re.compile(rb"(?:%s%s)*+" % (later, rest))


def _beyond(second: bytes, *, up: bool) -> bytes:
    """A pattern of all seconds after (or before) *second*, as text of the same form."""
    pattern = b"(?!)"
    for at in reversed(range(len(second))):
        char, left = second[at : at + 1], len(second) - at - 1
        if not char.isdigit():
            pattern = re.escape(char) + pattern
            continue
        digit = int(char)
        pattern = char + pattern
        if digit != (9 if up else 0):
            others = b"[%d-9]" % (digit + 1) if up else b"[0-%d]" % (digit - 1)
            pattern = b"(?:%s[0-9T:-]{%d}|%s)" % (others, left, pattern)
    return pattern


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
        self._since = _Since(options.since) if options.since else None
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
        if not self._docker:
            output = self._whole(block)
            if output is not None:
                self._known = True
                return output
            middle = block.find(b"\n", len(block) // 2) + 1
            if len(block) > _SMALL and 0 < middle < len(block):
                return self._block(block[:middle]) + self._block(block[middle:])
        return self._lines(block)

    def _whole(self, block: bytes) -> bytes | None:
        """The block's output in a few passes; None when not all of its lines are regular."""
        if not block.endswith(b"\n"):
            return None
        if self._since is not None:
            side = self._since.side(block)
            if side <= 0:
                return b"" if side else None
        parts = b" P " in block
        if self._options.timestamps and (parts or not self._fresh):
            return None
        lines = block.count(b"\n")
        stream = self._options.stream
        if stream is not None:
            block, dropped = _LINE_OF[_OTHER[stream]].subn(b"", b"\n" + block[:-1])
            block = block[1:] + b"\n" if dropped < lines else b""
            lines -= dropped
        if self._options.timestamps:
            return _with_times(block, lines)
        if parts:
            output, kept = _HEAD_OR_PART.subn(rb"\1", block)
        else:
            output, kept = _HEAD.subn(b"\n", b"\n" + block)
            output = output[1:]
        return output if kept == lines else None

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


def _with_times(block: bytes, lines: int) -> bytes | None:
    """The *lines* lines of a block with their times; None when not all of them are whole lines."""
    if not _WHOLE_LINES.fullmatch(block):
        return None
    block = _SHORT_TIME.sub(_nine_decimals, b"\n" + block)
    if block.count(b" stdout F ") + block.count(b" stderr F ") == lines:
        # No text looks like a head.
        return block[1:].replace(b" stdout F ", b" ").replace(b" stderr F ", b" ")
    width = block.find(b" ")
    if width - 1 not in _AFTER_TIME:
        return None
    block, kept = _AFTER_TIME[width - 1].subn(b" ", block)
    return block[1:] if kept == lines else None


def _split(block: bytes) -> list[bytes]:
    """Lines by line feed alone."""
    lines = [part + b"\n" for part in block.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
