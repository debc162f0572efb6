"""`maedfer demo`: from synthetic faces to a table of scores."""
