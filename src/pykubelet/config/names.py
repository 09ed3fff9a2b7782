"""The forms of names that labels and taints must have (apimachinery's qualified names)."""

import re

_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def qualified_name_error(key: str) -> str:
    """Why *key* is no label key, or an empty text."""
    prefix, slash, name = key.rpartition("/")
    if slash and (not _DOMAIN.fullmatch(prefix) or len(prefix) > 253):
        return "prefix part must be a lower-case DNS subdomain of at most 253 characters"
    if not _NAME.fullmatch(name) or len(name) > 63:
        return (
            "name part must consist of at most 63 alphanumeric characters, '-', '_' or '.', "
            "and must start and end with an alphanumeric character"
        )
    return ""


def label_value_error(value: str) -> str:
    """Why *value* is no label value, or an empty text."""
    if value and (not _NAME.fullmatch(value) or len(value) > 63):
        return (
            "a valid label must be an empty string or consist of at most 63 alphanumeric characters, "
            "'-', '_' or '.', and must start and end with an alphanumeric character"
        )
    return ""
