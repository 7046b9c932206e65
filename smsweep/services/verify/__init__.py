"""`smsweep verify`: check the assumptions about a backend with real jobs, under a cost cap."""
