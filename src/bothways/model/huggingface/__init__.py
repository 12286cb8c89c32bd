"""Hugging Face folders: config.json and weights of each family, read and written; the card; the hub."""
