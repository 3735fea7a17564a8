"""package.xml: `rosdep install` finds every dependency, and pip the rest."""

import ast
import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ROSDEP = yaml.safe_load((Path(__file__).parent / "rosdep_keys.yaml").read_text())
# What pip calls otherwise than apt.
PIP_NAMES = {"opencv": "opencv-python-headless", "yaml": "pyyaml", "sklearn": "scikit-learn"}
IMPORTED_AS = {"cv2": "opencv"}
# From requirements*.txt, and what comes with them; "compression" is Python 3.14's own.
FROM_PIP = {"numba", "rosbags", "safetensors", "torch", "backports", "lz4", "typing_extensions"}
FROM_PIP |= {"av", "foxglove", "triton", "compression"}


def dependencies(manifest):
    """Return the names of everything that a package depends on."""
    return {
        element.text
        for element in ET.parse(ROOT / manifest).getroot()  # noqa: S314  (our own file)
        if element.tag.endswith("depend")
    }


@pytest.mark.parametrize("manifest", ["package.xml", "deeplab_miou_msgs/package.xml"])
@pytest.mark.parametrize("release", ROSDEP["releases"])
def test_rosdep_installs_every_dependency(manifest, release):
    for key in dependencies(manifest) - set(ROSDEP["ros"]) - {"deeplab_miou_msgs"}:
        packages = ROSDEP["keys"].get(key)
        assert packages, f"rosdep knows no key {key}, or test/rosdep_keys.yaml lacks it"
        for package in packages:
            absent = ROSDEP["absent"].get(package, [])
            assert release not in absent, f"{key}: Ubuntu {release} has no {package}"


def imported(folder):
    """Return the names of the packages that modules import, wherever in them."""
    names = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {each.name.partition(".")[0] for each in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names


@pytest.mark.parametrize("folder", ["deeplab_miou", "launch"])
def test_every_import_is_declared(folder):
    declared = dependencies("package.xml")
    missing = {
        name
        for name in imported(folder) - FROM_PIP - {"deeplab_miou"}
        if not declared & {name, f"python3-{IMPORTED_AS.get(name, name)}"}
    }
    assert not missing


def test_what_apt_may_lack_comes_from_pip():
    requirements = (ROOT / "requirements.txt").read_text() + (
        ROOT / "requirements-dev.txt"
    ).read_text()
    pinned = set(re.findall(r"^([A-Za-z0-9-]+)==", requirements.lower(), re.MULTILINE))
    for key in dependencies("package.xml") & set(ROSDEP["keys"]):
        name = key.removeprefix("python3-")
        assert PIP_NAMES.get(name, name) in pinned
    assert {"numba", "torch", "safetensors", "rosbags"} <= pinned
