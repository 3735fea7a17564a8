"""A release has one version everywhere, and changelogs that bloom's own parser reads."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

import release

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    for name in (*release.PLACES, "CHANGELOG.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_place_states_the_version(clone):
    release.prepare(clone, "1.22.333", "2027-01-31")
    for name in release.PLACES:
        assert len(re.findall(r"1\.22\.333", (clone / name).read_text())) == 1, name
    assert yaml.safe_load((clone / "CITATION.cff").read_text())["version"] == "1.22.333"
    assert "## [1.22.333] - 2027-01-31" in (clone / "CHANGELOG.md").read_text()


# catkin_pkg with a newer docutils.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:catkin_pkg")
@pytest.mark.filterwarnings("ignore:nodes.Node.traverse:DeprecationWarning")
@pytest.mark.parametrize(("package", "folder"), release.PACKAGES.items())
def test_blooms_parser_finds_every_entry(clone, package, folder):
    parser = pytest.importorskip("catkin_pkg.changelog", reason="catkin_pkg is not installed")
    release.prepare(clone, "0.1.0", "2027-01-31")
    path = clone / "CHANGELOG.md"
    first = "## [0.1.0] - 2027-01-31"
    path.write_text(
        path.read_text().replace(first, f"## [0.2.0] - unreleased\n\n- New.\n\n{first}")
    )
    release.prepare(clone, "0.2.0", "2027-02-28")
    found = parser.get_changelog_from_path(str(clone / folder), package)
    assert [version for version, *_ in found.foreach_version()] == ["0.1.0", "0.2.0"]
    entries = sum(
        len(item.bullets) if hasattr(item, "bullets") else 0
        for item in found.get_content_of_version("0.1.0")
    )
    if package == "deeplab_miou":
        bullets = re.findall(r"^- ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        assert entries == len(bullets) > 20
    else:
        assert entries == 1


def test_bloom_finds_the_messages_only_in_a_repository_of_their_own(clone):
    """As CONTRIBUTING.md says: bloom does not look inside packages."""
    packages = pytest.importorskip("catkin_pkg.packages", reason="catkin_pkg is not installed")
    for folder, name in (("", "deeplab_miou"), ("deeplab_miou_msgs", "deeplab_miou_msgs")):
        found = packages.find_packages(str(clone / folder)).values()
        assert [each.name for each in found] == [name]
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert "git subtree split --prefix deeplab_miou_msgs" in text


def test_nothing_unreleased_is_refused(clone):
    release.prepare(clone, "0.1.0", "2027-01-31")
    with pytest.raises(SystemExit, match="what is new"):
        release.prepare(clone, "0.2.0", "2027-02-28")
