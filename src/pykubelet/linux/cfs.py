"""How the kernel's CPU scheduler wants CPU amounts: shares, weight, quota and period.

The arithmetic is upstream's (integers, rounded down), so that cgroups made by either
kubelet compare equal.
"""

MIN_SHARES = 2
MAX_SHARES = 262_144
SHARES_PER_CPU = 1024
#: Microseconds.
DEFAULT_PERIOD = 100_000
MIN_QUOTA = 1000
UNLIMITED_QUOTA = -1


def milli_to_shares(milli: int) -> int:
    """Thousandths of a CPU as ``cpu.shares``, within [2, 262144]; zero is 2."""
    return min(max(milli * SHARES_PER_CPU // 1000, MIN_SHARES), MAX_SHARES)


def shares_to_milli(shares: int) -> int:
    """``cpu.shares`` as thousandths of a CPU, rounded up; 0 below the minimum."""
    if shares < MIN_SHARES:
        return 0
    return -(-shares * 1000 // SHARES_PER_CPU)


def milli_to_quota(milli: int, period: int = DEFAULT_PERIOD) -> int:
    """Thousandths of a CPU as ``cpu.cfs_quota_us`` for *period* µs; 0 (no limit) for 0."""
    if milli == 0:
        return 0
    return max(milli * period // 1000, MIN_QUOTA)


def shares_to_weight(shares: int) -> int:
    """``cpu.shares`` [2, 262144] as cgroup v2's ``cpu.weight`` [1, 10000] (KEP-2254)."""
    if shares >= MAX_SHARES:
        return 10_000
    return 1 + (max(shares, MIN_SHARES) - 2) * 9999 // 262_142


def weight_to_shares(weight: int) -> int:
    """``cpu.weight`` as ``cpu.shares``: what upstream reads back."""
    return (weight - 1) * 262_142 // 9999 + 2
