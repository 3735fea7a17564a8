"""Exact streaming segmentation metric: confusion matrix, scores, windows and intervals."""
