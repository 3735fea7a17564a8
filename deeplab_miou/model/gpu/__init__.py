"""A GPU's path: staging, captured steps, counts on the device."""
