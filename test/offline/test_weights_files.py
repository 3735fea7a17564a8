"""The whole way of a file of weights: written as trainings write it, scored by the command."""

from __future__ import annotations

import argparse
import copy
import pathlib
import pickle

import pytest
import torch
from network_drives import check, refused, write_drive
from random_networks import (
    KEY,
    NO_PLUS,
    PLAIN,
    Normalised,
    folder_of,
    named,
    prefixed,
    random,
)
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def network():
    return random(1)


@pytest.fixture(scope="module")
def drive(network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("drive")
    return folder, write_drive(folder, network)


class Odd:
    """A user's own class, which is nowhere to be found when the file is read."""

    def __init__(self):
        self.history = [1, 2]


class Net(torch.nn.Module):
    """What a training wraps around its network."""


def thop(weights):
    layers = {key.rpartition(".")[0] for key in weights}
    counts = {
        f"{layer}.{name}": torch.zeros(1, dtype=torch.float64)
        for layer in layers
        for name in ("total_ops", "total_params")
    }
    return weights | counts | {"total_ops": torch.zeros(1), "total_params": torch.zeros(1)}


CONTENTS = {
    "bare": lambda w: w,
    "module.": lambda w: prefixed("module.", w),
    "averaged": lambda w: prefixed("module.", w) | {"n_averaged": torch.tensor(7)},
    "compiled": lambda w: {"model": prefixed("_orig_mod.", w)},
    "compiled encoder": lambda w: {
        k.replace("encoder.", "encoder._orig_mod."): v for k, v in w.items()
    },
    "compiled parts": lambda w: {k.replace(".", "._orig_mod.", 1): v for k, v in w.items()},
    "lightning": lambda w: {
        "epoch": 3,
        "state_dict": prefixed("deeplab.net.", w) | {"loss.weight": torch.ones(4)},
        "hyper_parameters": argparse.Namespace(lr=0.1, folder=pathlib.PurePosixPath("a")),
        "callbacks": {"Checkpoint": {"best": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": []}],
    },
    **{
        name: (lambda w, name=name: {name: w, "epoch": 3, "best": 0.5})
        for name in ("net", "params", "state_dict_ema")
    },
    "tuple": lambda w: (w, {"state": {}, "param_groups": [{"lr": 0.1}]}),
    "list": lambda w: [{"epoch": 3, "model": w}, 0.5],
    "nested": lambda w: {"checkpoint": {"model": {"student": w}}},
    "thop": lambda w: {"model_state": thop(w)},
    "objects": lambda w: {
        "state_dict": w,
        "message_hub": Odd(),
        "args": {"path": pathlib.PurePosixPath("x")},
    },
    "half": lambda w: {k: v.half() if v.is_floating_point() else v for k, v in w.items()},
    "newer types": lambda w: {
        "net": w,
        "counter": torch.tensor([7], dtype=torch.uint16),
        "moments": {"state": {0: torch.ones(2).to(torch.float8_e4m3fn)}},
    },
    "parameters": lambda w: {
        k: torch.nn.Parameter(v) if v.is_floating_point() else v for k, v in w.items()
    },
}


@pytest.mark.parametrize(
    ("form", "archive"),
    [
        *((form, True) for form in CONTENTS),
        # The older format differs in how objects are read.
        *((form, False) for form in ("lightning", "objects", "parameters")),
    ],
)
def test_whatever_is_around_the_weights(network, drive, form, archive):
    folder, counts = drive
    weights = named(network)
    if form == "half":
        rounded = copy.deepcopy(network).half().float()
        counts = write_drive(folder_of(folder, "half"), rounded)
        folder = folder / "half"
    torch.save(CONTENTS[form](weights), folder / "net.pth", _use_new_zipfile_serialization=archive)
    report = check(folder, "net.pth", counts)
    assert report["provenance"]["family"] == "segmentation_models_pytorch"


@pytest.mark.parametrize(
    ("signature", "changes"),
    [
        ("classifier.0.convs.", {**NO_PLUS, "dilation_rule": "contracted"}),
        ("decoder.aspp.convs.", {**NO_PLUS, "align_corners": True}),
        (
            "aspp.branch5_conv.",
            {
                **PLAIN,
                "backbone": "mobilenet_v2",
                "width": 0.35,
                "atrous_rates": (6, 12, 18),
                "decoder_layers": 2,
                "dilation_rule": "contracted",
            },
        ),
        (
            KEY,
            {
                "backbone": "efficientnet_b0",
                "padding": "same",
                "padding_size": 224,
                "encoder_epsilon": 1e-3,
                "dilation_rule": "ahead",
            },
        ),
        (
            KEY,
            {
                "backbone": "resnet50",
                "groups": 32,
                "bottleneck_width": 128,
                "squeeze_reduction": 16,
                "stem_pool": "ceil",
            },
        ),
        (
            "classifier.0.convs.",
            {
                **NO_PLUS,
                "backbone": "mobilenet_v3_large",
                "output_stride": 16,
                "head_channels": 960,
                "encoder_epsilon": 1e-3,
            },
        ),
        (
            "aspp.branch5_conv.",
            {
                **PLAIN,
                "backbone": "aligned_xception65",
                "atrous_rates": (6, 12, 18),
                "decoder_layers": 2,
            },
        ),
        (
            "classifier.aspp.convs.",
            {
                **PLAIN,
                "backbone": "hrnetv2_32",
                "output_stride": 4,
                "concatenation": "low_first",
                "align_corners": False,
            },
        ),
    ],
    ids=[
        "torchvision",
        "smp DeepLabV3",
        "bubbliiiing",
        "efficientnet-b0",
        "se_resnext50_32x4d",
        "torchvision MobileNetV3",
        "bubbliiiing Xception",
        "VainF HRNet",
    ],
)
def test_families_from_file_to_counts(tmp_path, signature, changes):
    network = random(6, **changes)
    weights = named(network, signature)
    if signature == "classifier.0.convs.":
        weights["aux_classifier.0.weight"] = torch.zeros(3)
    torch.save({"model": weights, "epoch": 3}, tmp_path / "net.pth")
    seen = network
    if signature.startswith("aspp"):
        seen = Normalised(network, (0.0,) * 3, (1.0,) * 3)
    check(tmp_path, "net.pth", write_drive(tmp_path, seen))


@pytest.mark.parametrize("prefix", ["", "model.", "deeplab.net."])
def test_bare_safetensors(network, drive, prefix):
    folder, counts = drive
    save_file(prefixed(prefix, named(network)), folder / "net.safetensors", {"format": "pt"})
    check(folder, "net.safetensors", counts)


def test_arrays_in_a_pickle(network, drive):
    folder, counts = drive
    arrays = {key: value.numpy() for key, value in named(network).items()}
    (folder / "net.pkl").write_bytes(pickle.dumps({"model": arrays, "__author__": "x"}))
    check(folder, "net.pkl", counts)


@pytest.mark.parametrize("archive", [True, False], ids=["archive", "legacy"])
def test_a_module_saved_whole(network, drive, archive):
    """Its classes are not needed: names of submodules and tensors are in the file."""
    folder, counts = drive
    content = {"model": in_modules(network), "epoch": 3}
    torch.save(content, folder / "net.pth", _use_new_zipfile_serialization=archive)
    check(folder, "net.pth", counts)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch
def test_a_compiled_module_saved_whole(network, drive):
    folder, counts = drive
    torch.save(torch.compile(in_modules(network)), folder / "net.pth")
    check(folder, "net.pth", counts)


def in_modules(network):
    root = Net()
    for key, value in named(network).items():
        *path, leaf = key.split(".")
        place = root
        for name in path:
            if name not in place._modules:
                place.add_module(name, Net())
            place = place._modules[name]
        if leaf in ("weight", "bias"):
            place.register_parameter(leaf, torch.nn.Parameter(value))
        else:
            place.register_buffer(leaf, value)
    return root


@pytest.mark.parametrize(("options", "seed"), [((), 1), (("--weights", "model_ema"), 2)])
def test_the_set_of_weights_that_is_asked_for(tmp_path, caplog, options, seed):
    """torchvision's references keep the moving average beside the raw weights."""
    sets = {"model": random(1), "model_ema": random(2)}
    content = {"model": named(sets["model"]), "epoch": 3}
    content["model_ema"] = prefixed("module.", named(sets["model_ema"]))
    torch.save(content, tmp_path / "net.pth")
    counts = write_drive(tmp_path, sets["model" if seed == 1 else "model_ema"])
    report = check(tmp_path, "net.pth", counts, *options)
    taken = "model" if seed == 1 else "model_ema.module"
    assert report["provenance"]["weights"] == taken
    assert ("holds 2 sets of weights" in caplog.text) == (seed == 1)
    assert ("--weights" in caplog.text) == (seed == 1)


def test_a_set_of_weights_that_is_not_there(drive, network, capsys):
    folder, _ = drive
    torch.save({"model": named(network)}, folder / "net.pth")
    assert "weights is 'ema', expected one of 'model'" in refused(
        folder, "net.pth", capsys, "--weights", "ema"
    )


def test_atrous_rates_and_channel_order_that_the_user_states(tmp_path):
    """No file of weights says either: both change the counts."""
    network = random(3, atrous_rates=(1, 2, 3))
    torch.save(named(network), tmp_path / "net.pth")
    mean, std = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)
    counts = write_drive(tmp_path, Normalised(network, mean, std, bgr=True))
    report = check(
        tmp_path,
        "net.pth",
        counts,
        *("--atrous-rates", "1,2,3", "--channel-order", "bgr"),
        *("--mean", "0.3,0.4,0.5", "--std", "0.2,0.25,0.3"),
    )
    assert report["provenance"]["atrous_rates"] == [1, 2, 3]
    assert report["provenance"]["preprocessing"]["channel_order"] == "bgr"


def test_buffers_beside_the_weights_normalise(tmp_path):
    network = random(5)
    mean, std = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)
    content = prefixed("model.", named(network))
    content |= {
        "mean": torch.tensor(mean).view(1, 3, 1, 1),
        "std": torch.tensor(std).view(1, 3, 1, 1),
    }
    torch.save({"state_dict": content}, tmp_path / "net.ckpt")
    counts = write_drive(tmp_path, Normalised(network, mean, std))
    report = check(tmp_path, "net.ckpt", counts)
    assert report["provenance"]["preprocessing"]["mean"] == list(mean)
