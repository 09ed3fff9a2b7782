"""Kubernetes' resource.Quantity: exact amounts with their canonical text.

An amount is kept as a whole number of nanos, the finest step that the API knows;
what is finer is rounded away from zero when it is read. Binary amounts are capped
at 2^63-1. Values are immutable, equal and hashed by amount alone.
"""

import enum
import re
from decimal import Decimal
from typing import Final, Self

_NANO: Final = 10**9
_MAX_BINARY: Final = ((1 << 63) - 1) * _NANO
#: Longest text and largest exponent that are read: an exponent is cheap to write and dear to expand.
_MAX_TEXT: Final = 512
_MAX_EXPONENT: Final = 512

_FORM = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*[-+]?[0-9]*)", re.ASCII)
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]+)", re.ASCII)
_FORMAT_WRONG: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


class Format(enum.Enum):
    """The family of suffixes that an amount was given in and is written in."""

    DECIMAL_SI = "DecimalSI"
    BINARY_SI = "BinarySI"
    DECIMAL_EXPONENT = "DecimalExponent"


_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIX: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_BINARY: Final = {suffix: 10 * step for step, suffix in enumerate(_BINARY_SUFFIX) if step}


def _away(dividend: int, divisor: int) -> int:
    """Division that rounds away from zero; *divisor* is positive."""
    return -(-dividend // divisor) if dividend >= 0 else dividend // divisor


def _shift(digits: int, power: int) -> int:
    """*digits* × 10^*power*, rounded away from zero."""
    return digits * 10**power if power >= 0 else _away(digits, 10**-power)


class Quantity:
    """An amount of something, such as ``500m`` of CPU or ``64Mi`` of memory."""

    __slots__ = ("_format", "_nano")

    _nano: int
    _format: Format

    def __init__(self, nano: int = 0, form: Format = Format.DECIMAL_SI) -> None:
        """*nano* is the amount in units of 10^-9; see :meth:`parse`, :meth:`of` and :meth:`of_milli`."""
        self._nano = nano
        self._format = form

    @classmethod
    def parse(cls, raw: str | int | float) -> Self:
        """Read the API's text, or a number as it stands in JSON.

        :raises ValueError: not a quantity; the text is upstream's.
        """
        if isinstance(raw, str):
            return cls._parse(raw)
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise ValueError(_FORMAT_WRONG)  # noqa: TRY004 - a decoder names the field of a ValueError
        if isinstance(raw, int):
            return cls(raw * _NANO)
        if 1e-6 <= abs(raw) < 1e21:
            return cls._parse(format(Decimal(repr(raw)), "f"))
        return cls._parse(repr(raw))

    @classmethod
    def _parse(cls, text: str) -> Self:
        match = _FORM.fullmatch(text) if len(text) <= _MAX_TEXT else None
        if match is None:
            raise ValueError(_FORMAT_WRONG)
        sign, whole, fraction, suffix = match.groups()
        if not whole and not fraction:
            raise ValueError(
                _FORMAT_WRONG if fraction is None else "unable to parse numeric part of quantity"
            )
        digits, places = int(whole + (fraction or "")), len(fraction or "")
        form = Format.DECIMAL_SI
        if (power := _DECIMAL.get(suffix)) is not None:
            nano = _shift(digits, power - places + 9)
        elif (bits := _BINARY.get(suffix)) is not None:
            nano = min(_shift(digits << bits, 9 - places), _MAX_BINARY)
            form = Format.BINARY_SI if nano >= _NANO or not nano else Format.DECIMAL_SI
        else:
            exponent = _EXPONENT.fullmatch(suffix)
            if exponent is None or abs(int(exponent[1])) > _MAX_EXPONENT:
                raise ValueError("unable to parse quantity's suffix")
            nano = _shift(digits, int(exponent[1]) - places + 9)
            form = Format.DECIMAL_EXPONENT
        return cls(-nano if sign == "-" else nano, form)

    @classmethod
    def zero(cls) -> Self:
        """Nothing."""
        return cls()

    @classmethod
    def of(cls, value: int, form: Format = Format.DECIMAL_SI) -> Self:
        """*value* whole units."""
        return cls(value * _NANO, form)

    @classmethod
    def of_milli(cls, value: int, form: Format = Format.DECIMAL_SI) -> Self:
        """*value* thousandths of a unit."""
        return cls(value * 10**6, form)

    @property
    def format(self) -> Format:
        """The family of suffixes it is written in."""
        return self._format

    def value(self) -> int:
        """Whole units, rounded away from zero."""
        return _away(self._nano, _NANO)

    def milli_value(self) -> int:
        """Thousandths, rounded away from zero."""
        return _away(self._nano, 10**6)

    def nano_value(self) -> int:
        """The exact amount in units of 10^-9."""
        return self._nano

    def __str__(self) -> str:
        """The canonical text, in the family it was given in."""
        nano = self._nano
        if nano == 0:
            return "0"
        if self._format is Format.BINARY_SI and abs(nano) >= 1024 * _NANO and nano % _NANO == 0:
            value, step = nano // _NANO, 0
            while value % 1024 == 0 and step < len(_BINARY_SUFFIX) - 1:
                value, step = value // 1024, step + 1
            return f"{value}{_BINARY_SUFFIX[step]}"
        exponential = self._format is Format.DECIMAL_EXPONENT
        exponent = -9
        # Beyond E there is no suffix, so the number itself grows.
        while nano % 1000 == 0 and (exponential or exponent < 18):
            nano, exponent = nano // 1000, exponent + 3
        if exponential:
            return f"{nano}e{exponent}" if exponent else str(nano)
        return f"{nano}{_DECIMAL_SUFFIX[exponent]}"

    def __repr__(self) -> str:
        return f"Quantity({str(self)!r})"

    def __bool__(self) -> bool:
        return self._nano != 0

    def __hash__(self) -> int:
        return hash(self._nano)

    def __eq__(self, other: object) -> bool:
        return self._nano == other._nano if isinstance(other, Quantity) else NotImplemented

    def __lt__(self, other: "Quantity") -> bool:
        return self._nano < other._nano

    def __le__(self, other: "Quantity") -> bool:
        return self._nano <= other._nano

    def __gt__(self, other: "Quantity") -> bool:
        return self._nano > other._nano

    def __ge__(self, other: "Quantity") -> bool:
        return self._nano >= other._nano

    def __add__(self, other: "Quantity") -> "Quantity":
        """The sum, in this one's family unless this one is zero."""
        return Quantity(self._nano + other._nano, self._format if self._nano else other._format)

    def __sub__(self, other: "Quantity") -> "Quantity":
        """The difference, in this one's family unless this one is zero."""
        return Quantity(self._nano - other._nano, self._format if self._nano else other._format)

    def __mul__(self, factor: int) -> "Quantity":
        return Quantity(self._nano * factor, self._format)

    def __neg__(self) -> "Quantity":
        return Quantity(-self._nano, self._format)
