"""The engine's policy: who runs, with which rows, in which slot, reusing which prefix. Pure: integers, deques and trees, no clock, no ctypes."""
