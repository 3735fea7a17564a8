"""A GPU's path: staging, recorded steps, counts on the device."""
