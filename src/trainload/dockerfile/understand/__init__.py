"""What a RUN line does, where that can be told for certain: typed steps, or a reason why it has to be run."""
