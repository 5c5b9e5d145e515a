"""Steps of RUN lines as layers: what they would leave over what lies below, without running anything."""
