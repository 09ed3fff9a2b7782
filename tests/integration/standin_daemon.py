"""A stand-in for ``pykubelet run``: lists one running pod for each manifest on the admin socket."""

import http.server
import json
import os
import socketserver
import sys
from pathlib import Path

CONFIG = json.loads(Path(next(a for a in sys.argv if a.startswith("--config="))[9:]).read_bytes())


class Pods(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = {"phase": "Running", "containerStatuses": [{"name": "c", "ready": True}]}
        items = [
            {"metadata": {"name": name}, "spec": {"containers": [{"name": "c"}]}, "status": status}
            for name in os.listdir(CONFIG["staticPodPath"])
        ]
        body = json.dumps({"items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


socket = Path(os.environ["PYKUBELET_RUN_DIR"], "admin.sock")
socket.unlink(missing_ok=True)
socketserver.UnixStreamServer(str(socket), Pods).serve_forever()
