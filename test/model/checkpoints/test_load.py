from __future__ import annotations

import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.labels.label_map import load_label_map
from deeplab_miou.model.checkpoints import load as checkpoints
from deeplab_miou.model.checkpoints.load import Preprocessing
from deeplab_miou.model.network.architecture import Architecture
from deeplab_miou.model.network.deeplab import build

SMALL = Architecture(
    num_classes=19, width=0.25, aspp_width=16, low_width=8, decoder_width=16, atrous_rates=(2, 4, 6)
)
PREPROCESSING = Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), size=(32, 64))


def write(path, **options):
    torch.manual_seed(3)
    network = build(SMALL)
    given = {
        "label_map": load_label_map("cityscapes"),
        "preprocessing": PREPROCESSING,
        "provenance": {"steps": 7},
    }
    checkpoints.save(path, network, **(given | options))
    return network


def test_everything_survives_the_round_trip(tmp_path):
    network = write(tmp_path / "net.safetensors")
    loaded = checkpoints.load(tmp_path / "net.safetensors")
    assert loaded.network.architecture == SMALL
    assert loaded.preprocessing == PREPROCESSING
    assert loaded.label_map == load_label_map("cityscapes")
    assert dict(loaded.provenance) == {"steps": 7}
    assert (loaded.family, loaded.num_classes, loaded.output_stride) == ("deeplab_miou", 19, 16)
    image = torch.rand(1, 3, 37, 50)
    with torch.inference_mode():
        assert torch.equal(loaded.network(image), network(image))


def test_same_input_gives_the_same_file(tmp_path):
    write(tmp_path / "a.safetensors")
    write(tmp_path / "b.safetensors")
    first, second = (checkpoints.load(tmp_path / f"{n}.safetensors").digest for n in "ab")
    assert first == second
    assert len(first) == 64
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def test_label_map_of_another_size_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"19 classes.*has 21"):
        write(tmp_path / "net.safetensors", label_map=load_label_map("pascal_voc21"))


@pytest.mark.parametrize("content", [b"", b"no safetensors at all", bytes(200)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"net\.safetensors"):
        checkpoints.load(path)


def test_absent_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.pth.*cannot be read"):
        checkpoints.load(tmp_path / "nowhere.pth")
