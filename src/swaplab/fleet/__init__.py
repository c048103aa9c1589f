"""Fleets: what many machines' histograms of cold memory, or their recordings, say should be set."""
