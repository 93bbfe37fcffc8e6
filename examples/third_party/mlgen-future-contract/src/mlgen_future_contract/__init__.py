"""Plugins for version 2 of the contracts."""
