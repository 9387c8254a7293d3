"""Cutouts by position from the servers of surveys."""
