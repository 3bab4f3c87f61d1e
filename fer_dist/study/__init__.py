"""A plan carried out: its file, its jobs and their keys, and what they find. Imports training and the report."""
