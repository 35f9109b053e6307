"""The test suite. Directories say what is real: unit, contracts, integration, acceptance, cluster."""
