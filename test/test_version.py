from __future__ import annotations

import re
from pathlib import Path

import pytest

import deeplab_miou
from deeplab_miou import cli

ROOT = Path(__file__).parents[1]


def test_packages_and_changelog_tell_one_version():
    version = deeplab_miou.__version__
    for manifest in ("package.xml", "deeplab_miou_msgs/package.xml"):
        assert re.findall(r"<version>(.+)</version>", (ROOT / manifest).read_text()) == [version]
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [version]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()


def test_the_command_tells_its_version(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"deeplab_miou {deeplab_miou.__version__}\n"
