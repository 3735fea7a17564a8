"""Running a network on a device."""
