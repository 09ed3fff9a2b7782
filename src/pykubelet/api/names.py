"""The forms that names, labels, ports and paths must have.

Each function returns what is wrong with a value, in upstream's words; nothing if it is fine.
"""

import ipaddress
import re
from typing import Final

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN: Final = rf"{_LABEL}(\.{_LABEL})*"
_QUALIFIED: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_UNDERSCORED: Final = r"[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*"
_CONFIG_KEY: Final = "[-._a-zA-Z0-9]+"
_HEADER: Final = "[-A-Za-z0-9]+"
_SYSCTL: Final = r"([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?"

_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_UNDERSCORED_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_QUALIFIED_RULE: Final = (
    "must consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_VALUE_RULE: Final = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)

Problems = list[str]


def _rule(text: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {listed}regex used for validation is '{pattern}')"


def _matches(pattern: str, value: str) -> bool:
    # All of these forms are far shorter; matching megabytes would only cost time.
    return len(value) <= 1024 and re.fullmatch(pattern, value) is not None


def _within(value: str, limit: int, unit: str = "characters") -> Problems:
    return [f"must be no more than {limit} {unit}"] if len(value) > limit else []


def between(low: int, high: int) -> str:
    """What is said of a number outside of these bounds."""
    return f"must be between {low} and {high}, inclusive"


def dns_label(value: str) -> Problems:
    """RFC 1123 label."""
    problems = _within(value, 63)
    if not _matches(_LABEL, value):
        if _matches(_SUBDOMAIN, value):
            problems.append("must not contain dots")
        else:
            problems.append(_rule(_LABEL_RULE, _LABEL, "my-name", "123-abc"))
    return problems


def dns_subdomain(value: str) -> Problems:
    """RFC 1123 subdomain."""
    problems = _within(value, 253)
    if not _matches(_SUBDOMAIN, value):
        problems.append(_rule(_SUBDOMAIN_RULE, _SUBDOMAIN, "example.com"))
    return problems


def search_domain(value: str) -> Problems:
    """A DNS search path: a subdomain that may have underscores and a final dot; ``.`` alone is fine."""
    if value == ".":
        return []
    plain = value.removesuffix(".")
    problems = _within(plain, 253)
    if not _matches(_UNDERSCORED, plain):
        problems.append(_rule(_UNDERSCORED_RULE, _UNDERSCORED, "example.com"))
    return problems


def qualified_name(value: str) -> Problems:
    """A label key, annotation key, condition type or resource name: ``[prefix/]name``."""
    prefix, slash, name = value.rpartition("/")
    rule = _rule(_QUALIFIED_RULE, _QUALIFIED, "MyName", "my.name", "123-abc")
    if "/" in prefix:
        optional = "with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [f"a valid label key {rule} {optional}"]
    problems: Problems = []
    if slash:
        wrong = dns_subdomain(prefix) if prefix else ["must be non-empty"]
        problems += [f"prefix part {problem}" for problem in wrong]
    if not name:
        problems.append("name part must be non-empty")
    problems += [f"name part {problem}" for problem in _within(name, 63, "bytes")]
    if not _matches(_QUALIFIED, name):
        problems.append(f"name part {rule}")
    return problems


def label_value(value: str) -> Problems:
    """The value of a label."""
    problems = _within(value, 63, "bytes")
    if value and not _matches(_QUALIFIED, value):
        problems.append(_rule(_VALUE_RULE, f"({_QUALIFIED})?", "MyValue", "my_value", "12345"))
    return problems


def port_number(value: int) -> Problems:
    """A port."""
    return [] if 1 <= value <= 65535 else [between(1, 65535)]


def port_name(value: str) -> Problems:
    """The name of a port (IANA service name)."""
    problems = _within(value, 15)
    if not _matches("[-a-z0-9]+", value):
        problems.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        problems.append("must contain at least one letter (a-z)")
    if "--" in value:
        problems.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        problems.append("must not begin or end with a hyphen")
    return problems


def env_name(value: str) -> Problems:
    """The name of an environment variable (KEP-4369: anything printable but ``=``)."""
    if not value:
        return ["environment variable name must be non-empty"]
    if all(" " <= char <= "~" and char != "=" for char in value):
        return []
    return [
        "a valid environment variable name must consist only of printable ASCII characters other than '='"
    ]


def config_key(value: str) -> Problems:
    """A key of a ConfigMap or Secret."""
    problems = _within(value, 253)
    if not _matches(_CONFIG_KEY, value):
        rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        problems.append(_rule(rule, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    if value in (".", ".."):
        problems.append(f"must not be '{value}'")
    elif value.startswith(".."):
        problems.append("must not start with '..'")
    return problems


def header_name(value: str) -> Problems:
    """The name of an HTTP header."""
    if _matches(_HEADER, value):
        return []
    rule = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [_rule(rule, _HEADER, "X-Header-Name")]


def numeric_id(value: int) -> Problems:
    """A user or group ID."""
    return [] if 0 <= value <= 0x7FFFFFFF else [between(0, 0x7FFFFFFF)]


def ip_address(value: str) -> Problems:
    """An IPv4 or IPv6 address."""
    try:
        if "%" not in value:
            ipaddress.ip_address(value)
            return []
    except ValueError:
        pass
    return ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]


def sysctl_name(value: str) -> Problems:
    """The name of a sysctl, with dots or slashes."""
    if len(value) <= 253 and _matches(_SYSCTL, value):
        return []
    return [f"must have at most 253 characters and match regex ^{_SYSCTL}$"]


def file_mode(value: int) -> Problems:
    """Permission bits."""
    return [] if 0 <= value <= 0o777 else ["must be a number between 0 and 0777 (octal), both inclusive"]


def no_backsteps(value: str) -> Problems:
    """A path without ``..`` among its elements."""
    return ["must not contain '..'"] if ".." in value.split("/") else []


def descending_path(value: str) -> Problems:
    """A relative path that does not leave where it starts."""
    problems = ["must be a relative path"] if value.startswith("/") else []
    return problems + no_backsteps(value)


def local_path(value: str) -> Problems:
    """A descending path that does not begin with two dots, which the kubelet uses itself."""
    problems = descending_path(value)
    if value.startswith("..") and not value.startswith("../"):
        problems.append("must not start with '..'")
    return problems
