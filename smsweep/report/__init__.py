"""Figures of a sweep as plain data, and one HTML file with all of them. Reads no files and sends no requests."""
