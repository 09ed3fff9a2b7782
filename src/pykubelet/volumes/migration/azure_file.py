"""Azure's file shares. Pure."""

import re
from typing import Final

from pykubelet.api.cloud_volumes import AzureFileVolumeSource
from pykubelet.api.storage import (
    AzureFilePersistentVolumeSource,
    CSIPersistentVolumeSource,
    PersistentVolume,
    SecretReference,
)

from .cloud import Cloud, Inline, UntranslatableError

_DRIVER: Final = "file.csi.azure.com"
#: How secrets that the provider's plug-in made are called.
_SECRET: Final = re.compile(r"azure-storage-account-(.+)-secret")
#: On a persistent volume: the resource group of its storage account.
_GROUP: Final = "kubernetes.io/azure-file-resource-group"
#: The namespace of secrets where none is known.
_NAMESPACE: Final = "default"


def _source(
    share: AzureFileVolumeSource | AzureFilePersistentVolumeSource, group: str, name: str, namespace: str
) -> CSIPersistentVolumeSource:
    found = _SECRET.search(share.secretName)
    account = found[1] if found is not None else share.secretName
    return CSIPersistentVolumeSource(
        driver=_DRIVER,
        volumeHandle="#".join((group, account, share.shareName, name, namespace)),
        readOnly=share.readOnly,
        volumeAttributes={"sharename": share.shareName},
        nodeStageSecretRef=SecretReference(name=share.secretName, namespace=namespace),
    )


def _persistent(share: AzureFilePersistentVolumeSource, pv: PersistentVolume) -> CSIPersistentVolumeSource:
    namespace = share.secretNamespace
    if namespace is None:
        namespace = pv.spec.claimRef.namespace if pv.spec.claimRef is not None else ""
    if not namespace:
        raise UntranslatableError("could not find a secret namespace in PersistentVolumeSource or ClaimRef")
    return _source(share, pv.metadata.annotations.get(_GROUP, ""), pv.metadata.name, namespace)


def _inline(share: AzureFileVolumeSource, name: str, namespace: str) -> Inline:
    source = _source(share, "", name, namespace or _NAMESPACE)
    return Inline(source.volumeHandle, source, "ReadWriteMany")


AZURE_FILE: Final = Cloud("azureFile", "kubernetes.io/azure-file", _DRIVER, _persistent, _inline)
