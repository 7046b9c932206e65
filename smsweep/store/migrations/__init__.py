"""Migrations from older schemas. Released files in versions/ never change."""
