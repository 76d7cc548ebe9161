"""Benchmark Sluice against its alternatives; `make bench` runs all benchmarks and writes docs/benchmarks.md."""
