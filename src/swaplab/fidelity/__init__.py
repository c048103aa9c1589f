"""The replay against real Linux: a suite of scenarios, what kernels did with them, and how far off a replay is."""
