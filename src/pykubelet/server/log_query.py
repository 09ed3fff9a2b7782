"""A query for the node's logs (``/logs/?query=…``): read, judged, and told to journalctl. Pure.

Texts and rules are those of the kubelet's node log query, with the options that ``oc adm
node-logs`` sends. Times are told to journalctl in UTC, as they are shown.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pykubelet.base.gotext import aggregate, go_quote

from .doors import ApiError
from .queries import Query

_MAX_TAIL: Final = 100_000
_MAX_NAME: Final = 256
_MAX_SERVICES: Final = 4
_MAX_PATTERN: Final = 4096
_UNSAFE: Final = re.compile(r"[^a-zA-Z\-_.:0-9@]")
_RELATIVE: Final = re.compile(r"[+-]?[0-9]+[smhd]", re.ASCII)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_FORMATS: Final = ("cat", "json", "short", "short-iso", "short-iso-precise", "short-precise", "short-unix")
_TRUE: Final = ("1", "t", "T", "true", "TRUE", "True")
_FALSE: Final = ("0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What is wanted of the node's logs; without services and files the query says nothing."""

    services: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    since_time: datetime | None = None
    until_time: datetime | None = None
    tail_lines: int | None = None
    boot: int | None = None
    pattern: str = ""
    since: str = ""
    until: str = ""
    format: str = ""
    case_sensitive: bool = False

    @property
    def has_options(self) -> bool:
        """Whether anything but names is given."""
        return self != LogQuery(services=self.services, files=self.files)

    def arguments(self) -> list[str]:
        """How journalctl is asked."""
        since = self.since or _told(self.since_time)
        until = self.until or _told(self.until_time)
        found = ["--utc", "--no-pager"]
        found += [f"--since={since}"] if since else []
        found += [f"--until={until}"] if until else []
        found += [] if self.tail_lines is None else ["--pager-end", f"--lines={self.tail_lines}"]
        found += [f"--unit={service}" for service in self.services]
        if self.pattern:
            found += [f"--grep={self.pattern}", f"--case-sensitive={str(self.case_sensitive).lower()}"]
        found += [] if self.boot is None else ["--boot", str(self.boot)]
        return [*found, f"--output={self.format or 'short-precise'}"]


def _told(when: datetime | None) -> str:
    if when is None:
        return ""
    at = when.astimezone(UTC)
    return f"{at.year}-{at.month}-{at.day} {at.hour}:{at.minute}:{at.second} UTC"


def _invalid(name: str, value: object, detail: str) -> str:
    shown = go_quote(value) if isinstance(value, str) else str(value)
    return f"{name}: Invalid value: {shown}: {detail}"


class _Reading:
    """One query being read, and what is wrong with it."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self.errors: list[str] = []

    def all(self, name: str) -> Sequence[str]:
        return self._query.get(name, ())

    def one(self, *names: str) -> str:
        """The first of *names* that says something."""
        return next((values[0] for name in names if (values := self.all(name)) and values[0]), "")

    def number(self, name: str, *others: str) -> int | None:
        text = self.one(name, *others)
        if not text:
            return None
        if re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
            return int(text)
        self.errors.append(_invalid(name, text, f"strconv.Atoi: parsing {go_quote(text)}: invalid syntax"))
        return None

    def time(self, name: str) -> datetime | None:
        text = self.one(name)
        if not text:
            return None
        try:
            if _RFC3339.fullmatch(text):
                return datetime.fromisoformat(re.sub(r"\.\d+", "", text.upper()))
        except ValueError:
            pass
        self.errors.append(_invalid(name, text, "invalid time format"))
        return None

    def flag(self, name: str) -> bool:
        text = self.one(name)
        if text and text not in (*_TRUE, *_FALSE):
            detail = f"strconv.ParseBool: parsing {go_quote(text)}: invalid syntax"
            self.errors.append(_invalid(name, text, detail))
        return text in _TRUE


def log_query(query: Query) -> LogQuery:
    """What *query* asks for.

    :raises ApiError: 400 when a value cannot be read, 406 when it makes no sense.
    """
    reading = _Reading(query)
    asked = reading.all("query")
    files = tuple(name for name in asked if "/" in name or "\\" in name)
    services = tuple(name for name in (*asked, *reading.all("unit")) if name not in files and name.strip())
    if ("query" in query or "unit" in query) and not files and not services:
        reading.errors.append(_invalid("unit", f"[{' '.join(asked)}]", "unit cannot be empty"))
    pattern = reading.one("pattern", "grep")
    found = LogQuery(
        services=services,
        files=files,
        since_time=reading.time("sinceTime"),
        until_time=reading.time("untilTime"),
        boot=reading.number("boot"),
        tail_lines=reading.number("tailLines", "tail"),
        pattern=pattern,
        case_sensitive=bool(pattern) and reading.flag("case-sensitive"),
        since=reading.one("since"),
        until=reading.one("until"),
        format=reading.one("output"),
    )
    if reading.errors:
        raise ApiError(400, aggregate(reading.errors) + "\n")
    wrong = _names_wrong(found) + _options_wrong(found) + _dates_wrong(found)
    if wrong:
        raise ApiError(406, aggregate(wrong) + "\n")
    return found


def _names_wrong(query: LogQuery) -> list[str]:
    wrong = []
    for service in query.services:
        if len(service) > _MAX_NAME:
            wrong.append(_invalid("query", service, f"length must be less than {_MAX_NAME}"))
        elif _UNSAFE.search(service):
            wrong.append(_invalid("query", service, "input contains unsupported characters"))
    if len(query.services) > _MAX_SERVICES:
        wrong.append(f"query: Too many: {len(query.services)}: must have at most {_MAX_SERVICES} items")
    files = f"[{' '.join(query.files)}]"
    if query.files and query.services:
        both = f"{files}, [{' '.join(query.services)}]"
        wrong.append(_invalid("query", both, "cannot specify a file and service"))
    elif len(query.files) > 1:
        wrong.append(_invalid("query", files, "cannot specify more than one file"))
    elif query.files and query.has_options:
        wrong.append(_invalid("query", files, "cannot specify file with options"))
    return wrong


def _options_wrong(query: LogQuery) -> list[str]:
    wrong = []
    if query.boot is not None and query.boot > 0:
        wrong.append(_invalid("boot", query.boot, "must be less than 1"))
    if query.tail_lines is not None and not 0 <= query.tail_lines <= _MAX_TAIL:
        wrong.append(_invalid("tailLines", query.tail_lines, f"must be between 0 and {_MAX_TAIL}, inclusive"))
    try:
        if len(query.pattern) > _MAX_PATTERN:
            raise re.error("it is too long")
        re.compile(query.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        wrong.append(_invalid("pattern", query.pattern[:_MAX_PATTERN], f"error parsing regexp: {error}"))
    if query.format and query.format not in _FORMATS:
        supported = ", ".join(go_quote(name) for name in _FORMATS)
        wrong.append(f"output: Unsupported value: {go_quote(query.format)}: supported values: {supported}")
    return wrong


def _dates_wrong(query: LogQuery) -> list[str]:
    wrong = []
    since, until = query.since_time, query.until_time
    if since is not None and until is not None and since > until:
        wrong.append(_invalid("untilTime", until.isoformat(), "must be after `sinceTime`"))
    for name, time in (("sinceTime", since), ("untilTime", until)):
        if time is not None and (query.since or query.until):
            wrong.append(f"{name}: Forbidden: `since or until` and `{name}` cannot be specified")
    for name, text in (("since", query.since), ("until", query.until)):
        if text and not _is_date(text):
            detail = (
                "date must be a relative time of the form '(+|-)[0-9]+(s|m|h|d)' "
                "or a date in 'YYYY-MM-DD HH:MM:SS' form"
            )
            wrong.append(_invalid(name, text, detail))
    return wrong


def _is_date(text: str) -> bool:
    if _RELATIVE.fullmatch(text):
        return True
    if not re.fullmatch(r"\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{1,2}:\d{1,2}", text, re.ASCII):
        return False
    try:
        datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True
