from __future__ import annotations

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.checkpoints import sets, weights

TENSORS = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}


class Harmful:
    def __reduce__(self):
        return os.mkdir, (self.path,)

    def __init__(self, path):
        self.path = path


def read(path):
    found = sets.choose(weights.read(path, weights.sniff(path)), "", str(path))
    return found.weights


def same(found):
    return set(found) == set(TENSORS) and all(torch.equal(found[k], TENSORS[k]) for k in TENSORS)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "legacy"])
@pytest.mark.parametrize("container", ["model_state", "state_dict", "model", None])
def test_weights_are_found_in_their_container(tmp_path, archive, container):
    path = tmp_path / "best.pth.tar"
    content = TENSORS if container is None else {"epoch": 3, container: TENSORS, "optimizer": {}}
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    assert weights.sniff(path) == "pytorch"
    assert same(read(path))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
def test_numpy_scalars_beside_the_weights_are_read(tmp_path, dtype):
    path = tmp_path / "net.pth"
    score = np.dtype(dtype).type(1)
    torch.save({"model_state": TENSORS, "best_score": score, "kind": score.dtype}, path)
    assert same(read(path))


def test_numpy_1_scalars_are_read(tmp_path):
    # NumPy 1 pickles the same scalar under its old module name, which is one byte shorter.
    path = tmp_path / "net.pth"
    torch.save({"state_dict": TENSORS, "best_pred": np.float64(0.5)}, path)
    old = tmp_path / "old.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(name, content)
    assert same(read(old))


def refused(path):
    with pytest.raises(ConfigurationError) as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "legacy"])
def test_code_in_a_pytorch_file_never_runs(tmp_path, archive):
    path, target = tmp_path / "net.pth", tmp_path / "made"
    torch.save(
        {"state_dict": TENSORS, "x": Harmful(str(target))},
        path,
        _use_new_zipfile_serialization=archive,
    )
    assert same(read(path))
    assert not target.exists()


@pytest.mark.parametrize("value", [np.arange(3.0), np.array(["a"], object), np.ma.zeros(2)])
def test_arrays_beside_the_weights_are_read(tmp_path, value):
    torch.save({"state_dict": TENSORS, "x": value}, tmp_path / "net.pth")
    assert same({k: v for k, v in read(tmp_path / "net.pth").items() if k in TENSORS})


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_in_a_pickle_are_read(tmp_path, protocol):
    path = tmp_path / "net.pkl"
    arrays = collections.OrderedDict((k, v.numpy()) for k, v in TENSORS.items())
    content = {"model": arrays, "__author__": "someone", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(content, protocol))
    assert weights.sniff(path) == "pickle"
    assert same(read(path))


@pytest.mark.parametrize("protocol", [2, 5])
def test_code_in_a_pickle_never_runs(tmp_path, protocol):
    path, target = tmp_path / "net.pkl", tmp_path / "made"
    path.write_bytes(pickle.dumps({"model": {"a": Harmful(str(target))}}, protocol))
    assert "holds no weights" in refused(path)
    assert not target.exists()


@pytest.mark.parametrize(
    "name", ["numpy.load", "numpy._core.multiarray.fromfile", "builtins.eval", "codecs.encode"]
)
def test_other_functions_are_not_called_in_a_pickle(tmp_path, name):
    module, _, function = name.rpartition(".")
    path = tmp_path / "net.pkl"
    path.write_bytes(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"(X\x01\x00\x00\x00atR.")
    assert f"holds no weights; it has a {name}" in refused(path)


def test_a_storage_cannot_be_called_in_a_pickle(tmp_path):
    path = tmp_path / "net.pkl"
    path.write_bytes(b"\x80\x02ctorch.storage\nUntypedStorage\n(J\x00\x00\x00\x40tR.")
    assert "damaged (UnpicklingError: a call of " in refused(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint16])
def test_tensors_beyond_their_storage_are_refused(tmp_path, dtype):
    torch.save({"a": torch.ones(77, dtype=dtype)}, tmp_path / "whole.pth")
    with (
        zipfile.ZipFile(tmp_path / "whole.pth") as source,
        zipfile.ZipFile(tmp_path / "net.pth", "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("data.pkl"):
                # The size, before the stride: the storage's own is a word.
                assert content.count(b"KM\x85") == 1
                content = content.replace(b"KM\x85", b"KN\x85")
            target.writestr(name, content)
    assert "a tensor (78,) beyond its" in refused(tmp_path / "net.pth")


@pytest.mark.parametrize("size", [3, 20, 400])
@pytest.mark.parametrize("kind", ["archive", "legacy", "pickle"])
def test_truncated_files_are_refused(tmp_path, kind, size):
    path = tmp_path / "net"
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"model": {"a": np.zeros(999)}}, 4))
    else:
        torch.save({"a": torch.zeros(999)}, path, _use_new_zipfile_serialization=kind == "archive")
    path.write_bytes(path.read_bytes()[:size])
    assert str(path) in refused(path)


@pytest.mark.parametrize("content", [{"state_dict": {}}, {"epoch": 3}, [1, 2], 5])
def test_files_without_weights_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    assert "holds" in refused(tmp_path / "net.pth")


def test_unknown_files_are_named_by_their_first_bytes(tmp_path):
    path = tmp_path / "net.pth"
    path.write_text("# just a text, longer than the thirty-two bytes that are looked at")
    assert "begins with b'# just a'" in refused(path)


@pytest.mark.parametrize("prefix", ["", "module.", "student.", "deeplab."])
def test_weights_of_a_family_are_found_under_any_name(prefix):
    inner = {"decoder.aspp.0.convs.0.0.weight": torch.ones(1), "total_ops": torch.zeros(1)}
    content = {"odd": {prefix + k: v for k, v in inner.items()} | {"n_averaged": torch.zeros(())}}
    found = sets.choose(content, "", "x")
    assert set(found.weights) == {"decoder.aspp.0.convs.0.0.weight"}
    assert found.name == ".".join(part for part in ("odd", prefix.rstrip(".")) if part)


def test_one_of_several_sets_of_weights_is_taken_and_said(caplog):
    key = "decoder.aspp.0.convs.0.0.weight"
    content = {"model_ema": {"module." + key: torch.ones(1)}, "model": {key: torch.zeros(1)}}
    assert not sets.choose(content, "", "x").weights[key].any()
    assert "'model_ema.module', 'model'" in caplog.text
    assert sets.choose(content, "model_ema", "x").weights[key].all()
    with pytest.raises(ConfigurationError, match="weights is 'ema', expected one of"):
        sets.choose(content, "ema", "x")
