"""One node's Prometheus metrics: a registry that is handed in, never a global one.

Families are made once by name and found again by it; they are written in the text
format under exactly the name that they were asked for (upstream has counters
without ``_total``), and without the ``_created`` series that upstream does not have.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

_F = TypeVar("_F", Counter, Gauge, Histogram)

_go_float = cast("Callable[[float], str]", floatToGoString)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exponential_buckets(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Upper bounds *start*, *start*·*factor*, … (*count* of them)."""
    return tuple(start * factor**step for step in range(count))


class Metrics:
    """The metrics of one node."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._families: dict[str, Counter | Gauge | Histogram] = {}
        self._untotalled: set[str] = set()

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """The counter *name*.

        :raises TypeError: the name belongs to a family of another kind.
        """
        if not name.endswith("_total"):
            self._untotalled.add(name)
        return self._family(Counter, name, lambda: Counter(name, text, labels, registry=self._registry))

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        """The gauge *name*.

        :raises TypeError: the name belongs to a family of another kind.
        """
        return self._family(Gauge, name, lambda: Gauge(name, text, labels, registry=self._registry))

    def histogram(
        self, name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float]
    ) -> Histogram:
        """The histogram *name*; *buckets* are upper bounds, ``+Inf`` is added.

        :raises TypeError: the name belongs to a family of another kind.
        """
        return self._family(
            Histogram,
            name,
            lambda: Histogram(name, text, labels, buckets=tuple(buckets), registry=self._registry),
        )

    def add(self, collector: Collector) -> None:
        """Let *collector* compute its families at each reading."""
        self._registry.register(collector)

    def _family(self, kind: type[_F], name: str, make: Callable[[], _F]) -> _F:
        found = self._families.get(name)
        if found is None:
            made = self._families[name] = make()
            return made
        if not isinstance(found, kind):
            raise TypeError(f"metric {name} is a {type(found).__name__}, not a {kind.__name__}")
        return found

    def render(self) -> bytes:
        """Everything in the text format (:data:`CONTENT_TYPE`)."""
        return "".join(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        for family in self._registry.collect():
            name, kind = self._header(family)
            text = family.documentation.replace("\\", "\\\\").replace("\n", "\\n")
            yield f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
            for sample in family.samples:
                if sample.name == f"{family.name}_created":
                    continue
                own = name if family.type == "counter" else sample.name
                yield _line(own, sample)

    def _header(self, family: Metric) -> tuple[str, str]:
        if family.type == "counter":
            untotalled = family.name in self._untotalled
            return (family.name if untotalled else f"{family.name}_total"), "counter"
        return family.name, "untyped" if family.type == "unknown" else family.type


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _line(name: str, sample: Sample) -> str:
    labels = ",".join(f'{key}="{_escape(value)}"' for key, value in sorted(sample.labels.items()))
    stamp = "" if sample.timestamp is None else f" {int(float(sample.timestamp) * 1000)}"
    head = f"{name}{{{labels}}}" if labels else name
    return f"{head} {_go_float(sample.value)}{stamp}\n"
