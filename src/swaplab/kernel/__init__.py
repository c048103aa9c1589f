"""The system in the kernel's own shape and names."""
