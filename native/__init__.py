"""The native part: C++ in `src`, and in `builder` the parts of build_native.py."""
