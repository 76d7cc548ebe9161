"""Measure Sluice beside what people use instead; `make bench` runs all of it and writes docs/benchmarks.md."""
