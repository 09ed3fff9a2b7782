import pytest

from pykubelet.server.doors import ApiError, LogRequest, StreamRequest
from pykubelet.server.queries import Query, forwarded_ports, log_request, stream_request

NOW = 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, LogRequest()),
        (
            {"follow": ["true"], "previous": ["1"], "timestamps": ["yes"]},
            LogRequest(follow=True, previous=True, timestamps=True),
        ),
        ({"follow": ["false"], "previous": ["0"], "timestamps": ["False"]}, LogRequest()),
        ({"follow": [""]}, LogRequest(follow=True)),
        ({"tailLines": ["0"]}, LogRequest(tail_lines=0)),
        ({"tail": ["5"], "tailLines": ["9"]}, LogRequest(tail_lines=5)),
        ({"tail": ["all"], "tailLines": ["9"]}, LogRequest()),
        ({"sinceSeconds": ["60"]}, LogRequest(since=NOW - 60 * 10**9)),
        ({"sinceTime": ["2023-11-14T22:13:20Z"]}, LogRequest(since=NOW)),
        ({"sinceTime": ["2023-11-14T23:13:20.5+01:00"]}, LogRequest(since=NOW + 5 * 10**8)),
        ({"limitBytes": ["1"]}, LogRequest(limit_bytes=1)),
        ({"stream": ["All"]}, LogRequest()),
        ({"stream": ["Stderr"]}, LogRequest(stream="stderr")),
    ],
)
def test_log_options(query: Query, expected: LogRequest) -> None:
    assert log_request(query, NOW) == expected


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"tailLines": ["x"]}, 400),
        ({"limitBytes": ["9" * 30]}, 400),
        ({"sinceTime": ["yesterday"]}, 400),
        ({"sinceTime": ["2023-02-31T00:00:00Z"]}, 400),
        ({"tailLines": ["-1"]}, 422),
        ({"limitBytes": ["0"]}, 422),
        ({"sinceSeconds": ["0"]}, 422),
        ({"sinceSeconds": ["1"], "sinceTime": ["2023-11-14T22:13:20Z"]}, 422),
        ({"stream": ["stdout"]}, 422),
        ({"stream": ["Stdout"], "tailLines": ["1"]}, 422),
    ],
)
def test_log_options_that_are_refused(query: Query, status: int) -> None:
    with pytest.raises(ApiError) as caught:
        log_request(query, NOW)
    texts = {400: '{"message": "Unable to decode query."}', 422: '{"message": "Invalid request."}'}
    assert (caught.value.status, caught.value.message) == (status, texts[status])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"output": ["1"]}, StreamRequest(stdout=True)),
        ({"input": ["1"], "output": ["1"], "error": ["1"]}, StreamRequest(True, True, True)),
        ({"output": ["1"], "error": ["1"], "tty": ["1"]}, StreamRequest(stdout=True, tty=True)),
        ({"input": ["true"], "output": ["1"]}, StreamRequest(stdout=True)),
    ],
)
def test_streams(query: Query, expected: StreamRequest) -> None:
    assert stream_request(query) == expected


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"output": ["true"]},
        {"stdin": ["1"], "stdout": ["1"]},
        {"tty": ["1"]},
        {"tty": ["1"], "error": ["1"]},
        {"output": ["0", "1"]},
    ],
)
def test_without_any_stream_nothing_is_done(query: Query) -> None:
    with pytest.raises(ApiError, match="you must specify at least 1 of stdin, stdout, stderr") as caught:
        stream_request(query)
    assert caught.value.status == 400


def test_ports_of_a_websocket() -> None:
    assert forwarded_ports({"port": ["80,81", "65535"]}, websocket=True) == [80, 81, 65535]
    assert forwarded_ports({"port": ["x"]}, websocket=False) == []


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, 'query parameter "port" is required'),
        ({"port": [""]}, 'query parameter "port" cannot be empty'),
        ({"port": ["80,x"]}, 'unable to parse "80,x" as a port: .*"x": invalid syntax'),
        ({"port": ["65536"]}, "value out of range"),
        ({"port": ["0"]}, 'port "0" must be > 0'),
    ],
)
def test_ports_that_are_refused(query: Query, words: str) -> None:
    with pytest.raises(ApiError, match=words):
        forwarded_ports(query, websocket=True)
