"""Experiments: a plan of variants of a scenario, something that maps it, and a table of what came out."""
