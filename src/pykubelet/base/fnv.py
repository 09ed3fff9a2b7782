"""FNV-1a hashes, as Go's ``hash/fnv`` computes them."""

_PRIME = {32: 0x01000193, 64: 0x00000100000001B3, 128: 0x0000000001000000000000000000013B}
_OFFSET = {
    32: 0x811C9DC5,
    64: 0xCBF29CE484222325,
    128: 0x6C62272E07BB014262B821756295C58D,
}


def fnv1a(data: bytes, bits: int, before: int | None = None) -> int:
    """FNV-1a of *data* with *bits* of 32, 64 or 128; *before* is the hash of what comes before it."""
    value = _OFFSET[bits] if before is None else before
    prime, mask = _PRIME[bits], (1 << bits) - 1
    for byte in data:
        value = ((value ^ byte) * prime) & mask
    return value
