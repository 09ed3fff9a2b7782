"""Queries for the node's logs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.server.doors import ApiError
from pykubelet.server.log_query import log_query


def query(**values: str | list[str]) -> dict[str, list[str]]:
    return {
        name.replace("_", "-"): [value] if isinstance(value, str) else value for name, value in values.items()
    }


@pytest.mark.parametrize(
    ("asked", "arguments"),
    [
        (query(query="kubelet"), ["--unit=kubelet"]),
        (query(query=["a", "b"], unit="c"), ["--unit=a", "--unit=b", "--unit=c"]),
        (
            query(query="a", sinceTime="2024-01-02T03:04:05+01:00", untilTime="2024-10-12T13:14:15.5Z"),
            ["--since=2024-1-2 2:4:5 UTC", "--until=2024-10-12 13:14:15 UTC", "--unit=a"],
        ),
        (
            query(query="a", since="-5m", until="2024-1-2 3:4:5"),
            ["--since=-5m", "--until=2024-1-2 3:4:5", "--unit=a"],
        ),
        (
            query(query="a", tailLines="3", boot="-1"),
            ["--pager-end", "--lines=3", "--unit=a", "--boot", "-1"],
        ),
        (query(query="a", tail="3"), ["--pager-end", "--lines=3", "--unit=a"]),
        (query(query="a", pattern="x+"), ["--unit=a", "--grep=x+", "--case-sensitive=false"]),
        (
            query(query="a", grep="x", case_sensitive="true"),
            ["--unit=a", "--grep=x", "--case-sensitive=true"],
        ),
        ({}, []),
    ],
)
def test_how_journalctl_is_asked(asked: dict[str, list[str]], arguments: list[str]) -> None:
    assert log_query(asked).arguments() == ["--utc", "--no-pager", *arguments, "--output=short-precise"]


def test_files_are_told_from_services() -> None:
    assert log_query(query(query="/foo.log")).files == ("/foo.log",)
    assert log_query(query(query="win\\foo.log")).files == ("win\\foo.log",)


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        (query(query="  "), 400, "unit cannot be empty"),
        (
            query(query="a", sinceTime="yesterday"),
            400,
            'sinceTime: Invalid value: "yesterday": invalid time format',
        ),
        (query(query="a", untilTime="2024-13-01T00:00:00Z"), 400, "invalid time format"),
        (
            query(query="a", boot="x", tailLines="y"),
            400,
            '[boot: Invalid value: "x": strconv.Atoi: parsing "x"',
        ),
        (query(query="a", grep="x", case_sensitive="maybe"), 400, "strconv.ParseBool"),
        (query(query="a;b"), 406, 'query: Invalid value: "a;b": input contains unsupported characters'),
        (query(query="--help me"), 406, "unsupported characters"),
        (query(query="a" * 257), 406, "length must be less than 256"),
        (query(query=list("abcde")), 406, "query: Too many: 5: must have at most 4 items"),
        (query(query=["a", "/b"]), 406, "cannot specify a file and service"),
        (query(query=["/a", "/b"]), 406, "cannot specify more than one file"),
        (query(query="/a", tailLines="1"), 406, "cannot specify file with options"),
        (query(query="a", boot="1"), 406, "boot: Invalid value: 1: must be less than 1"),
        (query(query="a", tailLines="100001"), 406, "must be between 0 and 100000, inclusive"),
        (query(query="a", tailLines="-1"), 406, "must be between 0 and 100000, inclusive"),
        (query(query="a", pattern="("), 406, "error parsing regexp"),
        (query(query="a", pattern="x" * 5000), 406, "error parsing regexp"),
        (query(query="a", output="xml"), 406, 'output: Unsupported value: "xml": supported values: "cat"'),
        (query(query="a", since="-5m", sinceTime="2024-01-01T00:00:00Z"), 406, "sinceTime: Forbidden"),
        (query(query="a", until="tomorrow"), 406, "date must be a relative time"),
        (query(query="a", until="2024-2-30 0:0:0"), 406, "date must be a relative time"),
        (
            query(query="a", sinceTime="2024-01-02T00:00:00Z", untilTime="2024-01-01T00:00:00Z"),
            406,
            "must be after `sinceTime`",
        ),
    ],
)
def test_what_is_refused(asked: dict[str, list[str]], status: int, words: str) -> None:
    with pytest.raises(ApiError) as refused:
        log_query(asked)
    assert refused.value.status == status
    assert words in refused.value.message


@given(
    st.dictionaries(
        st.sampled_from(["query", "unit", "sinceTime", "tailLines", "boot", "pattern", "since", "output"]),
        st.lists(st.text(max_size=20), max_size=3),
    )
)
def test_a_query_is_taken_or_refused(asked: dict[str, list[str]]) -> None:
    try:
        arguments = log_query(asked).arguments()
    except ApiError as error:
        assert error.status in (400, 406)
        return
    assert all(argument.startswith("--") or asked["boot"] for argument in arguments)
