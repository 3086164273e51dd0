"""Anthropic's Messages API: its bodies in, its answers out."""
