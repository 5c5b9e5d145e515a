"""Layers that others made: what they change, and what a base image made of them holds. Nothing is extracted."""
