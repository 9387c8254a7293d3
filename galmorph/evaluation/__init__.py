"""Figures of merit, each by a protocol with a name; arrays in, numbers out."""
