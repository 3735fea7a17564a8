"""Families of checkpoints: whose files they are and what they call their layers."""
