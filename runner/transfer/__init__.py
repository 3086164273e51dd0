"""Moves models between the store and the places where they come from. Blocking, for threads."""
