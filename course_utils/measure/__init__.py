"""Measuring generators: what the judge reads, fidelity, diversity, and intervals for all of them."""
