"""The bundled demo: rendered road scenes and the network trained on them."""
