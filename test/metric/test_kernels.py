import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import deeplab_miou
from deeplab_miou.metric import compiling, kernels

COUNT = """
import numpy as np
from deeplab_miou.metric.confusion import confusion_matrix, warm_up
warm_up()
from deeplab_miou.metric import kernels
print(confusion_matrix(np.arange(9, dtype=np.uint8), np.arange(9, dtype=np.uint8), 9).trace())
found = kernels.count_words()
print(found.stats.cache_path, sum(found.stats.cache_hits.values()))
"""


@pytest.fixture
def installed(tmp_path):
    """A copy of the package beside nothing that can be written, and the environment to run it."""
    package = tmp_path / "site" / "deeplab_miou"
    (package / "metric").mkdir(parents=True)
    source = Path(deeplab_miou.__file__).parent
    for name in (
        "__init__.py",
        "metric/__init__.py",
        *(f"metric/{name}.py" for name in ("confusion", "compiling", "kernels")),
    ):
        shutil.copy(source / name, package / name)
    # Tests may run as root, whom no permission stops: a file where the directory should be does.
    (package / "metric" / "__pycache__").write_text("")
    (tmp_path / "tmp").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/dev/null",
        "TMPDIR": str(tmp_path / "tmp"),
    }
    return tmp_path, environment


def start(environment):
    return subprocess.Popen(  # away from the source tree, which -c would put first
        [sys.executable, "-W", "error", "-c", COUNT],
        env=environment,
        cwd=environment["TMPDIR"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    trace, found = out.splitlines()
    assert trace == "9"
    directory, hits = found.rsplit(" ", 1)
    return directory, int(hits)


def test_processes_share_a_cache_where_neither_package_nor_home_can_be_written(installed):
    folder, environment = installed
    found = [finish(process) for process in [start(environment), start(environment)]]
    private = folder / "tmp" / f"deeplab_miou_cache_{os.getuid()}"
    assert {Path(directory).parent for directory, _ in found} == {private}
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert sorted(hits for _, hits in found) == [0, 1]  # who came second did not compile

    # As after a power cut: the files are there, and empty.
    for path in private.rglob("*.nb[ic]"):
        path.write_bytes(b"")
    assert finish(start(environment))[1] == 0
    assert finish(start(environment))[1] == 1


@pytest.mark.parametrize("kind", ["open", "link", "file"])
def test_directory_of_others_is_not_trusted(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    directory = tmp_path / f"deeplab_miou_cache_{os.getuid()}"
    assert compiling._private_directory() == directory
    directory.rmdir()
    if kind == "open":
        directory.mkdir()
        directory.chmod(0o777)
    elif kind == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "elsewhere")
    else:
        directory.write_text("")
    assert compiling._private_directory() is None


def test_compiles_without_a_cache(monkeypatch):
    monkeypatch.setattr(compiling, "_cached_dispatcher", lambda _: None)
    signature = kernels.count_pixels("uint8", "uint8").nopython_signatures[0].args
    compiled = compiling._compile(kernels._count_pixels, signature)
    assert compiled.stats.cache_path is None
    assert len(compiled.signatures) == 1


def test_never_compiles_again_while_counting():
    compiled = kernels.count_pixels("uint8", "uint8")
    assert compiled is kernels.count_pixels("uint8", "uint8")
    assert not compiled._can_compile
    assert compiled.targetoptions["nogil"]
    assert "parallel" not in compiled.targetoptions
