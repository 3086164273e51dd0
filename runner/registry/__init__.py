"""Where models come from: registries of the distribution specification, and Hugging Face.

Blocking, over ``requests``, for use in threads. Knows no store.
"""
