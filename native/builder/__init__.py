"""The parts of build_native.py: `plan` decides; the others find, fetch, run and test."""
