"""Pictures: preprocessing, folders, drawn ones."""
