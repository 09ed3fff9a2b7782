"""Make the protobuf stubs in ``_gen`` from ``protos``: ``python -m pykubelet.rpc.generate``.

A developer's command (it needs the ``dev`` extra); the stubs are checked in. The
protos are compiled under the path of the package that the stubs end in, so that the
imports protoc writes are right as they are. No ``*_grpc.py``: :mod:`pykubelet.rpc.stub`
makes calls from the descriptors.
"""

import sys
from pathlib import Path

_ROOM = Path(__file__).parent


def main() -> int:
    """Compile every proto; returns protoc's exit code."""
    from grpc_tools import protoc

    source, target = _ROOM / "protos", _ROOM / "_gen"
    target.mkdir(exist_ok=True)
    package = "pykubelet/rpc/_gen"
    out = str(_ROOM.parent.parent)
    names = sorted(path.name for path in source.glob("*.proto"))
    include = Path(protoc.__file__).parent / "_proto"
    code: int = protoc.main(
        [
            "protoc",
            f"-I{package}={source}",
            f"-I{include}",
            f"--plugin=protoc-gen-mypy={Path(sys.executable).parent / 'protoc-gen-mypy'}",
            f"--python_out={out}",
            f"--mypy_out=quiet:{out}",
            *(f"{package}/{name}" for name in names),
        ]
    )
    (target / "__init__.py").write_text('"""Generated protobuf stubs; see pykubelet.rpc.generate."""\n')
    return code


if __name__ == "__main__":
    sys.exit(main())
