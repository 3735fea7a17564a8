"""Parts of the image that are scored separately: each is one more ground truth of the frame."""
