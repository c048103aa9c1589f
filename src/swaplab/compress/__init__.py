"""The kernel's compressors, byte for byte where a library has them, and what they make of a page."""
