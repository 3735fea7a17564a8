"""What a pixel means: label maps from their files to tables."""
