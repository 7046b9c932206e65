"""The loop over one sweep: the controller decides, the agent acts."""
