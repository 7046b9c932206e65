"""Tables, live views and progress on a terminal."""
