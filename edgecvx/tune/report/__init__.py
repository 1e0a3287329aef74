"""What a search found: its values, and how people and programs read them."""
