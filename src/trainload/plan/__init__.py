"""Stage 3: ordered layers and image config; pure, every decision lives here."""
