"""The conformance kit of mlgen, on the installed plugin with its quick settings."""

from mlgen.testing import EventGeneratorTests


class TestBoostedMixture(EventGeneratorTests):
    name = "boosted-mixture"
