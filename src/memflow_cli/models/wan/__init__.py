"""The causal Wan backbone family. Nothing outside this package knows a layer's name."""
