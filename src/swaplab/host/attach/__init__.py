"""Attach to what runs: how long its pages are not touched, sampled from outside, and a trace made from that."""
