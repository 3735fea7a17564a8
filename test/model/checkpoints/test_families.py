"""Key lists and shapes are those of the families' own code; the weights are made up."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import torch

from deeplab_miou.errors import ConfigurationError
from deeplab_miou.model.checkpoints import families
from deeplab_miou.model.checkpoints import load as checkpoints

DATA = Path(__file__).parent / "data"

# What each file must be taken for: variant -> backbone and the facts that shapes decide.
EXPECTED = {
    "vainf": {
        "mobilenet_os16": {"backbone": "mobilenet_v2", "aspp_convolution": "dense"},
        "mobilenet_os16_separable": {"backbone": "mobilenet_v2", "aspp_convolution": "separable"},
        "resnet50_os16": {"backbone": "resnet50", "dilation_rule": "contracted"},
        "resnet101_os8_separable": {"backbone": "resnet101", "decoder_convolution": "separable"},
    },
    "smp": {
        "mobilenet_v2_os16": {"backbone": "mobilenet_v2", "head_channels": 1280},
        "resnet18_os16": {"backbone": "resnet18", "num_classes": 11, "atrous_rates": (12, 24, 36)},
        "resnet34_os8": {"backbone": "resnet34"},
        "resnet50_os16_dense": {"aspp_convolution": "dense", "aspp_width": 128},
    },
    "mmseg": {
        "r18_os8": {"backbone": "resnet18", "stem": "deep", "aspp_width": 128, "low_width": 12},
        "r50b_os8": {"backbone": "resnet50", "stem": "plain", "output_stride": 8},
        "mv2_os8": {"backbone": "mobilenet_v2", "dilation_rule": "first"},
        "r101_os8": {"backbone": "resnet101", "aspp_width": 512, "stem_width": 64},
    },
    "jfzhang": {
        "mobilenet_os16": {"backbone": "mobilenet_v2", "dilation_rule": "delayed"},
        "xception_os16": {"backbone": "xception65", "atrous_rates": (6, 12, 18)},
        "resnet_os16": {"backbone": "resnet101", "multi_grid": (2, 4, 8), "align_corners": True},
    },
    "detectron2": {
        "r101": {"backbone": "resnet101", "stem_width": 128, "pool_window": (32, 64)},
        "r50_separable": {"decoder_kernel": 5, "aspp_convolution": "separable_bn"},
    },
    "bubbliiiing": {
        "mobilenet_os16": {"backbone": "mobilenet_v2", "decoder_layers": 2, "align_corners": True},
    },
    "torchvision_deeplabv3": {
        "resnet50_aux": {"backbone": "resnet50", "output_stride": 8, "low_width": 0},
    },
    "vainf_deeplabv3": {
        "mobilenet_os16": {"backbone": "mobilenet_v2", "output_stride": 16, "low_width": 0},
    },
    "smp_deeplabv3": {
        "resnet18_os8": {"backbone": "resnet18", "output_stride": 8, "align_corners": True},
    },
    "smp_encoders": {
        "efficientnet_b0_os16": {"backbone": "efficientnet_b0", "padding_size": 224},
        "efficientnet_b1_os16": {"backbone": "efficientnet_b1", "dilation_rule": "stage"},
        "timm_efficientnet_b0_os16": {"backbone": "efficientnet_b0", "padding": "symmetric"},
        "timm_tf_efficientnet_lite0_os16": {"backbone": "efficientnet_lite0"},
        "resnext50_32x4d_os16": {"backbone": "resnet50", "groups": 32, "bottleneck_width": 128},
        "se_resnet50_os16": {"squeeze_reduction": 16, "stride_first": True, "stem_pool": "ceil"},
        "se_resnext50_32x4d_os16": {"groups": 32, "squeeze_reduction": 16, "stride_first": False},
        "tu_resnet18_os16": {"backbone": "resnet18", "dilation_rule": "contracted"},
    },
    "vainf_backbones": {
        "xception_os16": {"backbone": "xception", "low_width": 48},
        "hrnetv2_32": {"backbone": "hrnetv2_32", "output_stride": 4, "atrous_rates": (12, 24, 36)},
    },
    "bubbliiiing_xception": {"xception_os16": {"backbone": "aligned_xception65"}},
    "torchvision_mobilenet_v3": {
        "mobilenet_v3_large_aux": {"backbone": "mobilenet_v3_large", "output_stride": 16},
    },
    "hugging_face": {
        "mobilenet_v2_1.0_os8": {"backbone": "mobilenet_v2", "atrous_rates": (), "padding": "same"},
        "mobilenet_v2_0.35_os16": {"width": 0.35, "decoder_layers": 0, "encoder_epsilon": 1e-3},
    },
}
NAMES = {
    "vainf": "VainF",
    "smp": "segmentation_models_pytorch",
    "mmseg": "mmsegmentation",
    "jfzhang": "jfzhang95",
    "detectron2": "Detectron2",
    "bubbliiiing": "bubbliiiing",
    "torchvision_deeplabv3": "torchvision DeepLabv3",
    "vainf_deeplabv3": "VainF DeepLabv3",
    "smp_deeplabv3": "segmentation_models_pytorch DeepLabv3",
    "smp_encoders": "segmentation_models_pytorch",
    "vainf_backbones": "VainF",
    "bubbliiiing_xception": "bubbliiiing",
    "torchvision_mobilenet_v3": "torchvision DeepLabv3",
    "hugging_face": "Hugging Face MobileNetV2",
}
CASES = [(family, variant) for family, variants in EXPECTED.items() for variant in variants]


def shapes_of(family, variant):
    return json.loads(gzip.decompress((DATA / f"{family}.json.gz").read_bytes()))[variant]


def weights_of(family, variant):
    # One shared zero, expanded: a ResNet-101 needs no memory.
    zero = torch.zeros(())
    return {key: zero.expand(shape) for key, shape in shapes_of(family, variant).items()}


@pytest.mark.parametrize(("family", "variant"), CASES)
def test_each_family_is_recognised_and_described(family, variant):
    tensors = weights_of(family, variant)
    found = families.recognize(list(tensors), "x.pth")
    assert found.name == NAMES[family]
    network = families.rebuild(found, tensors, "x.pth", {})
    options = network.architecture
    for name, value in EXPECTED[family][variant].items():
        assert getattr(options, name) == value, name


def test_weights_reach_the_layer_of_their_name():
    tensors = {k: v.clone() for k, v in weights_of("vainf", "mobilenet_os16").items()}
    tensors["classifier.aspp.convs.2.0.weight"].fill_(3)
    tensors["backbone.high_level_features.17.conv.3.running_mean"].fill_(5)
    network = families.rebuild(families.recognize(list(tensors), "x"), tensors, "x", {})
    assert network.aspp.branches[2].conv.weight.unique().tolist() == [3]
    assert network.backbone.stages[6][0].project.norm.running_mean.unique().tolist() == [5]
    touched = [k for k, v in network.state_dict().items() if v.any() and "batches" not in k]
    assert len(touched) == 2


@pytest.mark.parametrize(
    ("stride", "rates", "grid"), [(16, (6, 12, 18), (1, 2, 4)), (8, (12, 24, 36), ())]
)
def test_output_stride_decides_what_depends_on_it(stride, rates, grid):
    tensors = weights_of("mmseg", "r50b_os8")
    family = families.recognize(list(tensors), "x")
    options = families.rebuild(family, tensors, "x", {"output_stride": stride}).architecture
    assert (options.atrous_rates, options.multi_grid) == (rates, grid)


def save(tmp_path, content, name="net.pth"):
    torch.save(content, tmp_path / name)
    return tmp_path / name


def load_error(path, **options):
    with pytest.raises(ConfigurationError) as caught:
        checkpoints.load(path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def small(family="vainf", variant="mobilenet_os16"):
    return {key: value.clone() for key, value in weights_of(family, variant).items()}


def test_partial_file_names_what_is_missing(tmp_path):
    tensors = {k: v for k, v in small().items() if ".high_level_features.5." not in k}
    message = load_error(save(tmp_path, {"model_state": tensors}))
    assert "missing: 15 keys (backbone.high_level_features.5.conv.0.0.weight, " in message
    assert message.count("high_level_features") == 10
    assert ", ...)" in message


def test_head_without_weights_is_called_incomplete(tmp_path):
    tensors = {k: v for k, v in small().items() if "classifier.classifier" not in k}
    message = load_error(save(tmp_path, {"model_state": tensors}))
    assert "VainF family, but incomplete: classifier.classifier.3.weight is missing" in message


def test_surplus_and_misshapen_weights_are_named(tmp_path):
    tensors = small() | {"classifier.extra.weight": torch.zeros(2)}
    tensors["classifier.project.1.bias"] = torch.zeros(7)
    message = load_error(save(tmp_path, {"model_state": tensors}))
    assert "unexpected: 1 keys (classifier.extra.weight)" in message
    assert "classifier.project.1.bias (7,) instead of (48,)" in message


def test_mixed_families_are_refused(tmp_path):
    tensors = small() | small("smp", "mobilenet_v2_os16")
    message = load_error(save(tmp_path, tensors))
    assert "of several families (VainF, segmentation_models_pytorch)" in message


def test_foreign_network_is_refused_with_the_families_known(tmp_path):
    tensors = {f"classifier.{n}.weight": torch.zeros(3) for n in range(12)}
    message = load_error(save(tmp_path, tensors))
    assert "unknown: 12 keys (classifier.0.weight" in message
    for family in families.FAMILIES:
        assert family.name in message


def test_unknown_encoder_is_named(tmp_path):
    tensors = {
        key.replace("encoder.layer4", "encoder.layer5"): value
        for key, value in small("smp", "resnet18_os16").items()
    }
    assert "its encoder is not one of mobilenet_v2, resnet18" in load_error(save(tmp_path, tensors))


def test_bad_output_stride_is_refused(tmp_path):
    path = save(tmp_path, {"model_state": small()})
    assert "output_stride is 32, expected 8 or 16" in load_error(path, output_stride=32)


def test_head_for_whole_images_is_left_out(tmp_path):
    """`aux_params` of segmentation_models_pytorch classifies the image."""
    tensors = small("smp_encoders", "efficientnet_b0_os16")
    tensors["classification_head.3.weight"] = torch.zeros(5, 320)
    assert checkpoints.load(save(tmp_path, tensors)).num_classes == 7


def test_images_of_four_channels_are_refused(tmp_path):
    tensors = small("smp_encoders", "efficientnet_b0_os16")
    tensors["encoder._conv_stem.weight"] = torch.zeros(32, 4, 3, 3)
    message = load_error(save(tmp_path, tensors))
    assert "encoder._conv_stem.weight (32, 4, 3, 3) instead of (32, 3, 3, 3)" in message


def test_efficientnet_of_another_size_is_named(tmp_path):
    tensors = small("smp_encoders", "efficientnet_b0_os16")
    tensors["encoder._blocks.15._project_conv.weight"] = torch.zeros(328, 1152, 1, 1)
    message = load_error(save(tmp_path, tensors))
    assert "an EfficientNet of 16 blocks and 328 channels; known are efficientnet_b0" in message


def test_hrnet_has_no_other_output_stride(tmp_path):
    path = save(tmp_path, weights_of("vainf_backbones", "hrnetv2_32"))
    assert "output_stride is 16, expected 4 for hrnetv2_32" in load_error(path, output_stride=16)


def test_hrnet_of_another_width_is_named(tmp_path):
    tensors = weights_of("vainf_backbones", "hrnetv2_32")
    tensors["backbone.transition1.0.0.weight"] = torch.zeros(18, 256, 3, 3)
    assert "an HRNet with 18 channels" in load_error(save(tmp_path, tensors))


def test_unknown_option_is_refused(tmp_path):
    path = save(tmp_path, {"model_state": small()})
    assert "unknown architecture option 'dept'" in load_error(path, architecture={"dept": 3})


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model._orig_mod.", "module.model."])
def test_wrappers_are_seen_through(tmp_path, prefix):
    tensors = {prefix + key: value for key, value in small().items()}
    path = save(tmp_path, {"state_dict": tensors, "epoch": 3})
    assert checkpoints.load(path, output_stride=8).output_stride == 8


def test_buffers_of_a_lightning_module_are_its_preprocessing(tmp_path):
    tensors = {f"model.{k}": v for k, v in small("smp", "mobilenet_v2_os16").items()}
    tensors |= {
        "mean": torch.tensor([0.25, 0.5, 0.75]).view(1, 3, 1, 1),
        "std": torch.full((1, 3, 1, 1), 0.5),
        "loss_fn.weight": torch.ones(11),
    }
    loaded = checkpoints.load(save(tmp_path, {"state_dict": tensors}))
    assert loaded.preprocessing.mean == (0.25, 0.5, 0.75)
    assert loaded.preprocessing.std == (0.5, 0.5, 0.5)
    assert loaded.family == "segmentation_models_pytorch"


def test_strange_buffers_beside_a_wrapped_network_are_no_part_of_it(tmp_path):
    tensors = {f"model.{k}": v for k, v in small().items()} | {"metric.counts": torch.zeros(3)}
    assert checkpoints.load(save(tmp_path, {"state_dict": tensors})).weights == "state_dict.model"


def test_one_log_line_says_what_was_found(tmp_path, caplog):
    path = save(tmp_path, {"model_state": small()})
    with caplog.at_level("INFO"):
        checkpoints.load(path)
    (record,) = caplog.records
    for part in ("VainF", "19 classes", "mobilenet_v2", "output stride 16", "(6, 12, 18)"):
        assert part in record.getMessage()
