"""The demo that ships: rendered road scenes and the network trained on them."""
