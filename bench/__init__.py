"""Benchmarks: each prints one ratio, both sides measured in one run, interleaved, against a declared goal."""
