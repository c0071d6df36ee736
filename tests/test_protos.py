"""The generated protobuf code beside the .proto files is what generating it today gives."""

from pathlib import Path

from protos.generate import HERE, generate


def test_generated_code_is_current(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh = {path.name: path.read_text() for path in (tmp_path / "protos").iterdir()}
    checked_in = {path.name: path.read_text() for path in HERE.glob("*_pb2*.py*")}
    assert fresh.keys() == checked_in.keys()
    for name, text in fresh.items():
        assert text == checked_in[name], f"{name} is stale: run `make protos`"
