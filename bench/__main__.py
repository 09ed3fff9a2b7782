"""``python -m bench [name…] [--peer PATH]``: measure, and show a table."""

import argparse
import os
import sys
from pathlib import Path

from bench import burst, exits, flood, logs, probes, pulls, rest, start, volumes
from bench.figures import machine

MEASUREMENTS = {
    "start": ("a pod's start", start.measure),
    "exits": ("a container's end", exits.measure),
    "burst": ("thirty pods at once", burst.measure),
    "probes": ("probes", probes.measure),
    "rest": ("fifty pods at rest", rest.measure),
    "pulls": ("six images pulled", pulls.measure),
    "flood": ("a container that floods its log", flood.measure),
    "logs": ("reading a log of 500 MB", logs.measure),
    "volumes": ("pods with config maps and secrets", volumes.measure),
    "volumes-rest": ("pods with volumes at rest", volumes.measure_rest),
    "rest-probed": ("fifty pods with probes at rest", rest.measure_probed),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", nargs="*", help=f"which to run: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("--peer", type=Path, help="another kubelet binary to measure alike")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.name if name not in MEASUREMENTS]
    if unknown:
        parser.error(f"there is no measurement {', '.join(unknown)}")
    if os.geteuid() != 0:
        parser.error("this needs root: it starts a container runtime")
    print(machine())
    for name in arguments.name or MEASUREMENTS:
        title, measure = MEASUREMENTS[name]
        for peer in (None, arguments.peer) if arguments.peer else (None,):
            rows = measure(peer)
            if rows:
                print(f"\n{name}: {title}" + (f" ({peer})" if peer else ""))
                for row in rows:
                    print(row.text())
                sys.stdout.flush()


if __name__ == "__main__":
    main()
