"""Log decoding: any cutting of a file gives the same output, and all paths give the same."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.containers import log_lines
from pykubelet.containers.log_lines import LogDecoder, LogOptions, fixed_time, time_ns

TIMES = st.sampled_from(
    [b"2016-10-06T00:17:09.669794202Z", b"2016-10-06T00:17:10Z", b"2016-10-06T02:17:09.5+02:00"]
)
TEXT = st.binary(max_size=20).map(lambda raw: raw.replace(b"\n", b" ")) | st.sampled_from(
    [b" P x stdout F ", b"stderr F x", b"2016-10-06T00:17:09.669794202Z stdout F x", b"a stdout F b"]
)


@st.composite
def cri_lines(draw):
    tag = draw(st.sampled_from([b"F", b"F", b"F", b"P", b"F:x"]))
    stream = draw(st.sampled_from([b"stdout", b"stderr"]))
    return draw(TIMES), stream, tag, draw(TEXT)


FILES = st.lists(cri_lines(), max_size=12)


def raw(lines):
    return b"".join(b" ".join(line) + b"\n" for line in lines)


def decode(data, options, cuts=()):
    decoder = LogDecoder(options)
    out, at = b"", 0
    for cut in [*sorted(c for c in cuts if c <= len(data)), len(data)]:
        out += decoder.feed(data[at:cut])
        at = cut
    return out + decoder.finish()


def model(lines, stream=None, since=0, timestamps=False):
    out, fresh = b"", True
    for time, name, tag, text in lines:
        part = tag.startswith(b"P")
        if time_ns(time) >= since and (stream is None or name.decode() == stream):
            stamp = fixed_time(time) + b" " if timestamps and fresh else b""
            out += stamp + text + (b"" if part else b"\n")
            fresh = not part or not text
    return out


@given(
    FILES,
    st.sampled_from([None, "stdout", "stderr"]),
    st.sampled_from([0, 1, time_ns(b"2016-10-06T00:17:09.6Z"), time_ns(b"2016-10-06T00:17:10Z"), 1 << 61]),
    st.booleans(),
    st.lists(st.integers(0, 400), max_size=5),
    st.sampled_from([0, 100, 1 << 20]),
)
def test_any_cutting_gives_what_was_written(lines, stream, since, timestamps, cuts, small):
    options = LogOptions(stream=stream, since=since, timestamps=timestamps)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_lines, "_SMALL", small)
        assert decode(raw(lines), options, cuts) == model(lines, stream, since, timestamps)


@given(FILES, st.integers(0, 60), st.lists(st.integers(0, 400), max_size=5))
def test_a_limit_cuts_the_output_anywhere(lines, limit, cuts):
    assert decode(raw(lines), LogOptions(limit_bytes=limit), cuts) == model(lines)[:limit]


def test_since_drops_older_lines():
    lines = [
        (b"2016-10-06T00:17:09Z", b"stdout", b"F", b"old"),
        (b"2016-10-06T00:17:10Z", b"stdout", b"F", b"new"),
    ]
    since = time_ns(b"2016-10-06T00:17:10Z")
    assert decode(raw(lines), LogOptions(since=since)) == b"new\n"


def test_docker_json():
    lines = [
        {"log": "one\n", "stream": "stdout", "time": "2016-10-20T18:39:20.57606443Z"},
        {"log": "two", "stream": "stderr", "time": "2016-10-20T18:39:20.6Z"},
    ]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert decode(data, LogOptions()) == b"one\ntwo"
    assert decode(data, LogOptions(stream="stderr")) == b"two"
    assert decode(data, LogOptions(timestamps=True)).startswith(b"2016-10-20T18:39:20.576064430Z one\n")


def test_lines_that_are_none_are_passed_over():
    good = b"2016-10-06T00:17:09Z stdout F a\n"
    assert decode(good + b"nonsense\n" + good, LogOptions()) == b"a\na\n"


def test_an_unknown_format_is_told():
    with pytest.raises(ValueError, match="unsupported log format"):
        decode(b"nonsense\n", LogOptions())


def test_an_unfinished_last_line_counts():
    assert decode(b"2016-10-06T00:17:09Z stdout F a", LogOptions()) == b"a"


@pytest.mark.parametrize(
    ("stamp", "wanted"),
    [
        (b"1970-01-01T00:00:01Z", 1_000_000_000),
        (b"1970-01-01T00:00:01.5Z", 1_500_000_000),
        (b"1970-01-01T02:00:01.000000001+02:00", 1_000_000_001),
        (b"1969-12-31T23:00:01-01:00", 1_000_000_000),
    ],
)
def test_times(stamp, wanted):
    assert time_ns(stamp) == wanted
