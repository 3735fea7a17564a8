"""Parts of the image that are scored apart: regions, as more ground truths of the same frame."""
