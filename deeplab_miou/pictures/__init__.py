"""Pictures for people, as arrays."""
