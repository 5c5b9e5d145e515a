"""What users feel, side by side in one run: the same project through each tool, from the same packages."""
