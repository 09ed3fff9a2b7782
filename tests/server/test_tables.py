"""Documents that the routes answer with."""

import json

from pykubelet.server.tables import configz


def test_configz_shows_no_secrets() -> None:
    config = {"kind": "KubeletConfiguration", "port": 1, "staticPodURLHeader": {"X-Key": ["s3cret", "b"]}}
    shown = json.loads(configz(config))
    assert shown == {"kubeletconfig": {"port": 1, "staticPodURLHeader": {"X-Key": ["<masked>"]}}}
    assert config["staticPodURLHeader"] == {"X-Key": ["s3cret", "b"]}
