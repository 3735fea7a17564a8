"""Bytes that are no YAML are told as what they are."""

import pytest

from deeplab_miou import strict_yaml
from deeplab_miou.errors import ConfigurationError


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ("a: süd\n".encode("latin-1"), "byte 4: not UTF-8: save it as UTF-8"),
        ("a: süd\n".encode("utf-16")[:-1], "byte 14: not UTF-8: save it as UTF-8"),
        (b"\x89PNG\r\n\x1a\n", "byte 0: not UTF-8: save it as UTF-8"),
        (b"a: b\x01\n", "character 4: is U+0001, which YAML does not allow: remove it"),
    ],
)
def test_files_that_are_no_text(tmp_path, raw, problem):
    path = tmp_path / "regions.yaml"
    path.write_bytes(raw)
    with pytest.raises(ConfigurationError) as told:
        strict_yaml.read(path, "regions file")
    assert str(told.value) == f"regions file {path}, {problem}"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_of_windows(tmp_path, encoding):
    path = tmp_path / "regions.yaml"
    path.write_bytes("a: süd\r\n".encode(encoding))
    assert strict_yaml.read(path, "regions file")[0] == {"a": "süd"}
