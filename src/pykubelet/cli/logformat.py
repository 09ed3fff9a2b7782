"""The daemon's log: klog's text form, or one JSON object a line."""

import json
import logging
import sys
import time
from typing import Final

_LETTERS: Final = {"DEBUG": "I", "INFO": "I", "WARNING": "W", "ERROR": "E", "CRITICAL": "F"}
#: ``-v`` from which on debug lines are written.
_DEBUG_FROM: Final = 4
_LIBRARIES_FROM: Final = 8


class KlogFormatter(logging.Formatter):
    """``I1120 23:14:05.123456   1234 module.py:12] message``."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        stamp = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micros = int(record.created % 1 * 1e6)
        head = f"{_LETTERS.get(record.levelname, 'I')}{stamp}.{micros:06d} {record.process:7d}"
        text = f"{head} {record.filename}:{record.lineno}] {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JSONFormatter(logging.Formatter):
    """``{"ts":…,"caller":…,"msg":…}`` as the kubelet's JSON format has it; ``ts`` is in milliseconds."""

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter``."""
        entry: dict[str, object] = {
            "ts": round(record.created * 1000, 3),
            "caller": f"{record.filename}:{record.lineno}",
            "msg": record.getMessage(),
        }
        if record.levelno >= logging.ERROR:
            entry["err"] = str(record.exc_info[1]) if record.exc_info and record.exc_info[1] else ""
        else:
            entry["v"] = _DEBUG_FROM if record.levelno <= logging.DEBUG else 0
        if record.exc_info:
            entry["stacktrace"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(form: str, verbosity: int) -> None:
    """Log to standard error in *form* (``text``, ``json``); ``-v`` 4 and more shows debug lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter() if form == "json" else KlogFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING if verbosity < _LIBRARIES_FROM else logging.DEBUG)
    logging.getLogger("pykubelet").setLevel(logging.DEBUG if verbosity >= _DEBUG_FROM else logging.INFO)
