"""The paths of the API's resources that a node uses."""

from urllib.parse import quote


def _part(name: str) -> str:
    return quote(name, safe="")


def core(resource: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """``/api/v1/…``."""
    return _path("/api/v1", resource, namespace, name, subresource)


def group(
    group_version: str, resource: str, namespace: str = "", name: str = "", subresource: str = ""
) -> str:
    """``/apis/GROUP/VERSION/…``."""
    return _path(f"/apis/{group_version}", resource, namespace, name, subresource)


def _path(root: str, resource: str, namespace: str, name: str, subresource: str) -> str:
    path = f"{root}/namespaces/{_part(namespace)}/{resource}" if namespace else f"{root}/{resource}"
    if name:
        path += f"/{_part(name)}"
    return f"{path}/{subresource}" if subresource else path


def pods(namespace: str, name: str = "", subresource: str = "") -> str:
    """Pods of *namespace*; all namespaces when it is empty."""
    return core("pods", namespace, name, subresource)


def nodes(name: str = "", subresource: str = "") -> str:
    """Nodes."""
    return core("nodes", "", name, subresource)


def leases(namespace: str, name: str = "") -> str:
    """coordination.k8s.io/v1 leases."""
    return group("coordination.k8s.io/v1", "leases", namespace, name)
