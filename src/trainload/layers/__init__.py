"""Stage 4: recipes become tar streams. Bytes only; untrusted archives are never extracted to the host."""
