"""From logits to counts: resizing, argmax, counting."""
