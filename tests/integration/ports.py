"""Ports for programs that must be told one before they listen."""

import socket


def free_port(ip: str = "127.0.0.1") -> int:
    """A port of *ip* that nobody listens on now."""
    with socket.create_server((ip, 0)) as listening:
        port: int = listening.getsockname()[1]
        return port
