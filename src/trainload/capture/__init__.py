"""What was changed by hand in a container, recognised and turned into changes of the project (docs/adr)."""
