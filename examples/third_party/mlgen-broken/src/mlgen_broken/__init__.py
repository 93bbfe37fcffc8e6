"""Modules that go wrong, each in another way; `mlgen plugins` has to say how."""
