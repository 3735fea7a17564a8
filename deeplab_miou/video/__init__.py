"""Videos as camera images: packets of H.264, H.265, AV1 and VP9, taken in order and decoded."""
