"""Programs that compare this project with others and with itself; see docs/howto/benchmarks.md."""
