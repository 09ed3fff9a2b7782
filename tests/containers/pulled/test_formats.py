"""Records of pulls as they lie on disk."""

from datetime import UTC, datetime

import pytest

from pykubelet.containers.pulled.formats import (
    Intent,
    PullCredentials,
    PulledRecord,
    PullSecret,
    PullServiceAccount,
    decode_intent,
    decode_record,
    encode_intent,
    encode_record,
    file_name,
    is_record,
)

MOMENT = datetime(2024, 10, 21, 12, 26, 40, tzinfo=UTC)
#: As the Go kubelet writes them.
SECRET = (
    b'{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",'
    b'"lastUpdatedTime":"2024-10-21T12:26:40Z","imageRef":"testimageref","credentialMapping":'
    b'{"docker.io/testing/test":{"kubernetesSecrets":[{"uid":"testsecretuid","namespace":"default",'
    b'"name":"pull-secret","credentialHash":"testsecrethash"}]}}}\n'
)
EVERYONE = (
    b'{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",'
    b'"lastUpdatedTime":"2024-10-21T12:26:40Z","imageRef":"testimage-anonpull","credentialMapping":'
    b'{"docker.io/testing/test":{"nodePodsAccessible":true}}}\n'
)
ACCOUNT = (
    b'{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",'
    b'"lastUpdatedTime":"2024-10-21T12:26:40Z","imageRef":"testimageref-sa","credentialMapping":'
    b'{"docker.io/testing/test":{"kubernetesServiceAccounts":[{"uid":"test-sa-uid",'
    b'"namespace":"default","name":"test-sa"}]}}}\n'
)
NOBODY = (
    b'{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",'
    b'"lastUpdatedTime":"2024-10-21T12:26:40Z","imageRef":"testemptycredmapping"}\n'
)


@pytest.mark.parametrize(
    ("data", "ref", "credentials"),
    [
        (
            SECRET,
            "testimageref",
            PullCredentials(
                kubernetesSecrets=(PullSecret("testsecretuid", "default", "pull-secret", "testsecrethash"),)
            ),
        ),
        (EVERYONE, "testimage-anonpull", PullCredentials(nodePodsAccessible=True)),
        (
            ACCOUNT,
            "testimageref-sa",
            PullCredentials(
                kubernetesServiceAccounts=(PullServiceAccount("test-sa-uid", "default", "test-sa"),)
            ),
        ),
        (NOBODY, "testemptycredmapping", None),
    ],
)
def test_records_byte_for_byte(data, ref, credentials):
    mapping = {} if credentials is None else {"docker.io/testing/test": credentials}
    record = PulledRecord(imageRef=ref, lastUpdatedTime=MOMENT, credentialMapping=mapping)
    assert encode_record(record) == data
    found, current = decode_record(data)
    assert (found.imageRef, found.lastUpdatedTime, found.credentialMapping) == (ref, MOMENT, mapping)
    assert current
    older, current = decode_record(data.replace(b"v1beta1", b"v1alpha1"))
    assert (older.credentialMapping, current) == (mapping, False)


def test_intents_byte_for_byte():
    image = "docker.io/testing/test:latest"
    data = (
        b'{"kind":"ImagePullIntent","apiVersion":"kubelet.config.k8s.io/v1beta1",'
        b'"image":"docker.io/testing/test:latest"}\n'
    )
    assert encode_intent(image) == data
    found, current = decode_intent(data)
    assert (found.image, current) == (image, True)
    assert isinstance(found, Intent)
    # The names that the Go kubelet gave these files.
    assert file_name(image) == "sha256-aef2af226629a35d5f3ef0fdbb29fdbebf038d0acd8850590e8c48e1e283aa56"
    assert file_name("testimageref") == (
        "sha256-b3c0cc4278800b03a308ceb2611161430df571ca733122f0a40ac8b9792a9064"
    )


def test_which_files_are_records():
    name = file_name("x")
    assert is_record(name)
    assert not is_record(f"{name}.tmp")
    assert not is_record("notes")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{}",
        SECRET.replace(b"ImagePulledRecord", b"ImagePullIntent"),
        SECRET.replace(b"v1beta1", b"v9"),
        SECRET.replace(b"imageRef", b"imageref"),
        SECRET.replace(b'"testsecrethash"', b"1"),
    ],
)
def test_what_is_no_record(data):
    with pytest.raises(ValueError, match=r".+"):
        decode_record(data)
