"""A fleet of sidecars in simulated time: the real rules, an emulated world."""
