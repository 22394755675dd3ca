"""Programs that make, read and check constant databases."""
