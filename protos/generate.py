"""Generates the Python code beside each .proto file: `python -m protos.generate [FOLDER]`.

`grpcio-tools` and `mypy-protobuf` are needed only for this. The result is checked in, and a test
holds that it is current.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent


def generate(output: Path) -> None:
    """Writes `protos/*_pb2*.py` and their type stubs below `output`."""
    from grpc_tools import protoc

    sources = sorted(str(path.relative_to(HERE.parent)) for path in HERE.glob("*.proto"))
    plugins = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"--proto_path={HERE.parent}",
        f"--plugin=protoc-gen-mypy={plugins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={plugins / 'protoc-gen-mypy_grpc'}",
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        f"--mypy_out=quiet:{output}",
        f"--mypy_grpc_out=quiet:{output}",
        *sources,
    ]
    if protoc.main(arguments) != 0:
        raise SystemExit("protos.generate: protoc failed (its own lines above say why)")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent)
