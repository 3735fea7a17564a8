"""DeepLabv3+: network, backbones, checkpoints and inference."""
