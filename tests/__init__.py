"""The test suite; a directory says how much is real, from unit over contracts to cluster."""
