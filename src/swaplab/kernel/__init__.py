"""The system in the kernel's own shape and names; `swaplab.kernel.machine` is the way in.

Nothing is imported here: an exploration of a few parts does not load the compressors.
"""
