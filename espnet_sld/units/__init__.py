"""Audio → discrete units: front-ends, k-means, streaming extraction, units as text."""
