"""Stage 5: manifest and config bytes with parsed views; immutable."""
