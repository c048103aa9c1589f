"""The system in the kernel's own shape and names; `swaplab.kernel.machine` is the way in.

Nothing is imported here: who explores a few of the parts does not load the compressors.
"""
