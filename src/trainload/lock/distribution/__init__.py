"""A distribution's rules, pure: versions, relations, indexes, what apt would choose (deb822(5))."""
