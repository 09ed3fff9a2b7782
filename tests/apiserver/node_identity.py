"""A node's own credentials on a real API server: a certificate that its signer gives."""

import base64
import contextlib
import secrets
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.apiserver.client import Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.kubeconfig import Credentials

_CSRS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def certificate_request(node: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """The PEM by which *node* asks for a client certificate."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
    )
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM)


async def node_credentials(cluster: Cluster, node: str) -> Credentials:
    """Those of ``system:node:NODE``, approved by the cluster's admin."""
    key = ec.generate_private_key(ec.SECP256R1())
    path = cluster.later(f"{_CSRS}/tests-{secrets.token_hex(4)}")
    made = await cluster.create(
        _CSRS,
        {
            "metadata": {"name": path.rpartition("/")[2]},
            "spec": {
                "request": base64.b64encode(certificate_request(node, key)).decode(),
                "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
                "usages": ["digital signature", "client auth"],
            },
        },
    )
    approved = {"type": "Approved", "status": "True", "reason": "Test", "message": "by a test"}
    # A cluster may approve its admin's request by itself.
    with contextlib.suppress(Refusal):
        await cluster.update(f"{path}/approval", {**made, "status": {"conditions": [approved]}})
    issued = await cluster.until(path, lambda csr: csr["status"].get("certificate"))
    return replace(
        cluster.credentials,
        token="",
        certificate=base64.b64decode(issued["status"]["certificate"]),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
