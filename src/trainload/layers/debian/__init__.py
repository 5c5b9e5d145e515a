"""A base from distribution packages: read strictly, merged as dpkg would, no maintainer script run (DESIGN § 4)."""
