"""Telling people and programs what happens to a sweep."""
