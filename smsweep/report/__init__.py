"""How a sweep looks: figures as plain data, and one HTML file with all of them; reads and fetches nothing."""
