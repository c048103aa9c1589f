"""Facts of Linux that belong to no engine: x86-64, small pages, Debian's configuration.

Where releases differ, 6.12 is meant, and `swaplab.linux.release` says what the others have.
"""
