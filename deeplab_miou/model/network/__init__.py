"""DeepLabv3+: backbones, heads, and what tells one architecture from another."""
