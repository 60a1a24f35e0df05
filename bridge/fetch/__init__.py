"""HTTP(S) download with ranges, resume and a cache."""
