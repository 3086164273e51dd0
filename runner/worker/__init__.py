"""The child process that runs one model: reads frames, loads, computes, writes frames.

Started as ``python -m runner.worker`` with its input on fd 0 and its output on fd 1. Opens no
socket, writes no file, and dies with its parent.
"""
