"""Notifications about a sweep: webhooks and commands."""
