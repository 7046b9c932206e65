"""How an older schema becomes the present one. Files in versions/ never change once released."""
