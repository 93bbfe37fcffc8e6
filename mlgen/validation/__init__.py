"""Compares samples: observables, histograms, tests, and a report that shows them."""
