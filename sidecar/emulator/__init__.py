"""The emulated API and Secrets Manager that the demo, the tests and the benchmarks share."""
