"""Every interleaving of tasks on shared objects."""

from __future__ import annotations
