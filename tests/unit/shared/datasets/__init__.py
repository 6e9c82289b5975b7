"""Datasets over tables in a folder."""
